"""The service's thread for audit logs: it chains what has happened, signs the heads, and verifies the chains."""

import logging
import threading

from service.registry.audit import audit_log, checkpoints, verification
from service.registry.crypto import signing_keys
from service.registry.storage.database import Database
from service.settings import ServiceSettings

logger = logging.getLogger(__name__)


class Auditor:
    """Any number of processes may have one. Whatever goes wrong is logged and tried again at the next turn."""

    def __init__(self, database: Database, settings: ServiceSettings) -> None:
        self._database = database
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auditor", daemon=True)

    def start(self) -> None:
        """Begin; the first turn comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn in progress."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Each by itself: a chain that cannot be verified must not keep others from growing.
            for work in (self._chain, self._sign, self._verify):
                try:
                    work()
                except Exception:
                    logger.exception("the auditor could not finish its turn")
            self._stopping.wait(self._settings.audit_interval.total_seconds())

    def _chain(self) -> None:
        more = True
        while more and not self._stopping.is_set():
            with self._database.read() as session:
                tenants = audit_log.waiting(session)
            more = bool(tenants)
            for tenant_id in tenants:
                with self._database.write() as session:
                    audit_log.chain(session, tenant_id)

    def _sign(self) -> None:
        with self._database.read() as session:
            tenants = checkpoints.due(session)
        for tenant_id in tenants:
            signer = signing_keys.signer(self._settings)
            with self._database.write() as session:
                checkpoints.sign(session, tenant_id, signer)

    def _verify(self) -> None:
        verification.verify_due(self._database, signing_keys.public_keys(self._settings))
