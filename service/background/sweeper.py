"""The background thread for housekeeping and for announcing waiting jobs to the workers."""

from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from service.background.periodic import PeriodicThread
from service.registry.crypto.master_key import MasterKey
from service.registry.evidence import certificates
from service.registry.job_queue import broker, jobs
from service.registry.operations import housekeeping, reencryption
from service.registry.operations.orphaned_files import Orphans
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from celery import Celery


class Sweeper(PeriodicThread):
    """Sweeps every `settings.sweep_interval`, and announces waiting jobs to the workers then and whenever it is woken.

    The job table, not this thread, keeps the work: any number of processes may have one, and any turn may fail.
    """

    def __init__(
        self, database: Database, artifacts: Artifacts, settings: ServiceSettings, last_success: Gauge
    ) -> None:
        steps = (
            partial(housekeeping.sweep, database, artifacts, settings),
            partial(reencryption.encrypt_plaintext, database, artifacts, MasterKey(settings)),
            self._announce,
            partial(certificates.issue_pending, database, settings),
            Orphans(database, artifacts).remove_some,
        )
        super().__init__("sweeper", steps, settings.sweep_interval, last_success, when_woken=(self._announce,))
        self._database = database
        self._settings = settings
        self._celery = _celery(settings)

    def wake(self) -> None:
        """Announce waiting jobs now. Without a broker workers poll, and this does nothing."""
        if self._celery is not None:
            super().wake()

    def check_broker(self) -> None:
        """Connect to the broker, if one is configured.

        Raises:
            Exception: of the broker's client, when it does not answer.
        """
        if self._celery is not None:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=1)

    def _announce(self) -> None:
        if self._celery is None:
            return
        with self._database.write() as session:
            waiting = jobs.take_unannounced(session, self._settings.lease)
        try:
            broker.publish_hints(self._celery, waiting)
        except Exception:
            with self._database.write() as session:
                jobs.mark_unannounced(session, waiting)
            raise


def _celery(settings: ServiceSettings) -> "Celery | None":
    if settings.broker_url is None:
        return None
    return broker.celery_app(settings.broker_url.get_secret_value(), settings.celery_queue, settings.pools)
