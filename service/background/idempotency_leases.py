"""Keeps the `Idempotency-Key`s that this process works on reserved, for as long as it does and no longer.

A reservation is a lease: nobody has to find out that a process has died, its keys are free a moment later.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from service.registry.access import idempotency_keys
from service.registry.access.idempotency_keys import Once
from service.registry.storage.database import Database

logger = logging.getLogger(__name__)


class Reservations:
    """A thread that renews those which are held when its turn comes; most creations end before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[Once] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reservations", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """What is still held is free when its lease has run out."""
        self._stopping.set()
        self._thread.join(timeout=10)

    @contextmanager
    def hold(self, once: Once) -> Iterator[None]:
        """This process works on it until the block ends."""
        self._held.add(once)
        try:
            yield
        finally:
            self._held.discard(once)

    def _run(self) -> None:
        while not self._stopping.wait(idempotency_keys.RESERVED.total_seconds() / 3):
            try:
                for once in self._held.copy():
                    with self._database.write() as session:
                        idempotency_keys.renew(session, once)
            except SQLAlchemyError as error:
                # Whoever loses its reservation to somebody else finds out before it creates anything.
                logger.warning("reservations could not be renewed, the database does not answer (%s)", type(error))
