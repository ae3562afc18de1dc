"""Keeps the `Idempotency-Key`s that this process works on reserved, for as long as it does and no longer.

A reservation is a lease: nobody has to find out that a process has died, its keys are free a moment later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from prometheus_client import Gauge

from service.background.periodic import PeriodicThread
from service.registry.access import idempotency_keys
from service.registry.access.idempotency_keys import Reservation
from service.registry.storage.database import Database


class IdempotencyLeases(PeriodicThread):
    """Renews the leases that are held when its turn comes; most creations end before.

    Whoever loses its lease to somebody else, because the database did not answer, finds out before it creates anything.
    """

    def __init__(self, database: Database, last_success: Gauge) -> None:
        # No back-off: a lease would not outlast it.
        interval, none = idempotency_keys.RESERVATION_LEASE / 3, timedelta(0)
        super().__init__("idempotency_leases", (self._renew,), interval, last_success, max_back_off=none)
        self._database = database
        self._held: set[Reservation] = set()

    @contextmanager
    def hold(self, once: Reservation) -> Iterator[None]:
        """This process works on it until the block ends. What is held when the thread stops is free a lease later."""
        self._held.add(once)
        try:
            yield
        finally:
            self._held.discard(once)

    def _renew(self) -> None:
        for once in self._held.copy():
            with self._database.write() as session:
                idempotency_keys.renew(session, once)
