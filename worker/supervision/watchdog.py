"""Keeps the lease of a running job, and notices when the run should end."""

import logging
import time
from enum import Enum, auto

from sqlalchemy.exc import SQLAlchemyError

from service.registry.errors import FenceLost
from service.registry.job_queue import claims
from service.registry.job_queue.claims import CancelRequested, Claim
from service.registry.storage.database import Database
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between two looks at the job's row


class End(Enum):
    """How an attempt came to its end, as its supervisor sees it."""

    DIED = auto()
    STOPPED = auto()
    LOST = auto()
    WITHDRAWN = auto()
    STALLED = auto()
    OVERDUE = auto()


class Watch:
    """A look at one attempt's row every second, and a heartbeat at every third of the lease."""

    def __init__(self, database: Database, settings: WorkerSettings, claim: Claim) -> None:
        self._database, self._settings, self._claim = database, settings, claim
        self._beat = settings.lease.total_seconds() / 3
        self.pause = min(0.2, self._beat)
        """Seconds between two calls of `look`, and how late an end or a stop is noticed."""
        now = time.monotonic()
        self._began = self._beaten = self._looked = self._moved = now
        self._seen: object = None

    def look(self) -> End | None:
        """Whether the attempt should end, and why. A database that is away is no reason: the lease may still hold."""
        try:
            self._look()
        except FenceLost:
            logger.info("job %s has ended or changed hands", self._claim.job_id)
            return End.LOST
        except CancelRequested:
            return End.WITHDRAWN
        except SQLAlchemyError as error:
            logger.warning("job %s: the database does not answer (%s)", self._claim.job_id, type(error))
        now = time.monotonic()
        if now - self._began > self._settings.job_timeout.total_seconds():
            return End.OVERDUE
        if now - self._moved > self._settings.stall_timeout.total_seconds():
            return End.STALLED
        return None

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._beaten >= self._beat:
            with self._database.write() as session:
                claims.heartbeat(session, self._claim, self._settings.lease)
            self._beaten = now
        if now - self._looked >= _LOOK:
            with self._database.read() as session:
                seen = claims.watch(session, self._claim)
            self._looked = now
            if seen != self._seen:
                self._seen, self._moved = seen, now
