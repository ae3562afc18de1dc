"""The background thread for audit logs: it chains pending events, signs the heads, and verifies the chains."""

from prometheus_client import Gauge

from service.background.periodic import PeriodicThread
from service.registry.audit import audit_log, checkpoints, verification
from service.registry.crypto import signing_keys
from service.registry.storage.database import Database
from service.settings import ServiceSettings


class Auditor(PeriodicThread):
    """Works every `settings.audit_interval`. Any number of processes may run one."""

    def __init__(self, database: Database, settings: ServiceSettings, last_success: Gauge) -> None:
        # Steps of their own: a chain that cannot be verified must not keep others from growing.
        super().__init__("auditor", (self._chain, self._sign, self._verify), settings.audit_interval, last_success)
        self._database = database
        self._settings = settings

    def _chain(self) -> None:
        is_unfinished = True
        while is_unfinished and not self.stopping:
            with self._database.read() as session:
                tenants = audit_log.unchained_tenants(session)
            is_unfinished = bool(tenants)
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
