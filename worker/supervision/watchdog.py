"""Renews the lease of a running job, and decides when its attempt should be ended."""

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

_POLL_INTERVAL = 1.0  # seconds between two looks at the job's row


class End(Enum):
    """How an attempt came to its end, as its supervisor sees it."""

    DIED = auto()
    STOPPED = auto()
    LOST = auto()
    WITHDRAWN = auto()
    STALLED = auto()
    OVERDUE = auto()


class Watch:
    """Reads the job's row every second, and renews the lease at every third of it."""

    def __init__(self, database: Database, settings: WorkerSettings, claim: Claim) -> None:
        self._database, self._settings, self._claim = database, settings, claim
        self._heartbeat_interval = settings.lease.total_seconds() / 3
        self.pause = min(0.2, self._heartbeat_interval)
        """Seconds between two calls of `look`, and how late an end or a stop is noticed."""
        now = time.monotonic()
        self._started = self._last_heartbeat = self._last_poll = self._last_change = now
        self._last_progress: object = None

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
        if now - self._started > self._settings.job_timeout.total_seconds():
            return End.OVERDUE
        if now - self._last_change > self._settings.stall_timeout.total_seconds():
            return End.STALLED
        return None

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last_heartbeat >= self._heartbeat_interval:
            with self._database.write() as session:
                claims.heartbeat(session, self._claim, self._settings.lease)
            self._last_heartbeat = now
        if now - self._last_poll >= _POLL_INTERVAL:
            with self._database.read() as session:
                progress = claims.read_progress(session, self._claim)
            self._last_poll = now
            if progress != self._last_progress:
                self._last_progress, self._last_change = progress, now
