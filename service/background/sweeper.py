"""The service's background thread: it tidies up, and tells workers about waiting jobs."""

import logging
import threading
from typing import TYPE_CHECKING

from service.registry.crypto.master_key import MasterKey
from service.registry.evidence import certificates
from service.registry.job_queue import jobs
from service.registry.operations import housekeeping, reencryption
from service.registry.operations.orphaned_files import Orphans
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)


class Relay:
    """Sweeps every `settings.sweep_interval`, and rings the doorbell then and whenever it is woken.

    Whatever goes wrong is logged and tried again at the next turn: the job table, not this thread, keeps the work.
    """

    def __init__(self, database: Database, artifacts: Artifacts, settings: ServiceSettings) -> None:
        self._database = database
        self._artifacts = artifacts
        self._settings = settings
        self._master_key = MasterKey(settings)
        self._orphans = Orphans(database, artifacts)
        self._celery = _celery(settings)
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        """Begin; the first turn comes at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed that a worker may want to hear of."""
        if self._celery is not None:
            self._woken.set()

    def stop(self) -> None:
        """Finish the turn in progress."""
        self._stopping = True
        self._woken.set()
        self._thread.join(timeout=10)

    def check_broker(self) -> None:
        """Raise something when a broker is configured and does not answer."""
        if self._celery is not None:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=1)

    def _run(self) -> None:
        woken = False
        while not self._stopping:
            self._woken.clear()  # before the turn: what is committed during it must wake the next one
            try:
                if not woken:
                    housekeeping.sweep(self._database, self._artifacts, self._settings)
                    reencryption.seal_plain(self._database, self._artifacts, self._master_key)
                self._ring()
                if not woken:
                    certificates.issue_pending(self._database, self._settings)
                    self._orphans.remove_some()
            except Exception:
                # The database or the broker may come back; a thread that gave up would not.
                logger.exception("the relay could not finish its turn")
            woken = self._woken.wait(self._settings.sweep_interval.total_seconds())

    def _ring(self) -> None:
        if self._celery is None:
            return
        from service.registry.job_queue import broker  # noqa: PLC0415

        with self._database.write() as session:
            waiting = jobs.to_announce(session, self._settings.lease)
        try:
            broker.ring(self._celery, waiting)
        except Exception:
            with self._database.write() as session:
                jobs.not_announced(session, waiting)
            raise


def _celery(settings: ServiceSettings) -> "Celery | None":
    if settings.broker_url is None:
        return None
    # Here, because Celery takes as long to import as everything else together, and many installations have no broker.
    from service.registry.job_queue import broker  # noqa: PLC0415

    return broker.celery_app(settings.broker_url.get_secret_value(), settings.celery_queue, settings.pools)
