"""Keeps the `Idempotency-Key`s of requests in progress reserved.

A reservation is a lease: when a process dies, its keys are free once their leases have run out.
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
    """Renews the leases of this process every third of a lease; most requests have ended before.

    A request that loses its lease, because the database did not answer, fails when it stores its response, in the
    transaction that creates: nothing is created twice.
    """

    def __init__(self, database: Database, last_success: Gauge) -> None:
        # No back-off: a lease would not outlast it.
        interval = idempotency_keys.RESERVATION_LEASE / 3
        super().__init__("idempotency_leases", (self._renew,), interval, last_success, max_back_off=timedelta(0))
        self._database = database
        self._held: set[Reservation] = set()

    @contextmanager
    def hold(self, reservation: Reservation) -> Iterator[None]:
        """Renew the lease until the block ends. After the thread stops, leases run out."""
        self._held.add(reservation)
        try:
            yield
        finally:
            self._held.discard(reservation)

    def _renew(self) -> None:
        for reservation in self._held.copy():
            with self._database.write() as session:
                idempotency_keys.renew(session, reservation)
