"""The worker's loop, with Celery and without: look into the job table, and run the job that is due."""

import logging
import queue
import threading
from datetime import timedelta

from service.registry.job_queue import claims
from service.registry.job_queue.batching import Batching
from service.registry.operations import housekeeping
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from worker.settings import WorkerSettings
from worker.supervision import prometheus, supervisor

logger = logging.getLogger(__name__)


class Runner:
    """Looks every `interval` and whenever it is asked to, and runs one job at a time, in the thread that calls `run`.

    Whoever looks also returns expired leases, and takes such a job at once: a lost worker's job waits for no other
    process, no message and no broker, only for a worker that is free.
    """

    def __init__(self, settings: WorkerSettings, *, interval: timedelta) -> None:
        self._settings = settings
        self._interval = interval.total_seconds()
        self._database = Database.of(settings)
        self._artifacts = Artifacts(settings.data_dir)
        # A SimpleQueue, because a signal handler may put into it.
        self._wake_ups: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Take and run jobs until `stop`; a job in progress then goes back to the queue."""
        prometheus.serve(self._settings, self._database, supervisor.worker_name())
        pause = 0.0  # the first look comes at once
        while not self._stopping.is_set():
            done = self._wait(pause)
            try:
                pause = 0.0 if self._look() else self._interval
            except Exception:
                # The database or the disk may come back; a worker that gave up would not.
                logger.exception("the worker could not look for a job")
                pause = self._settings.sweep_interval.total_seconds()
            finally:
                done.set()
        self._database.close()

    def look(self) -> None:
        """Have `run` look now, from another thread; returns once it has looked and any job that it took has ended."""
        done = threading.Event()
        self._wake_ups.put(done)
        while not (done.wait(1) or self._stopping.is_set()):
            pass

    def stop(self) -> None:
        """Begin with nothing new, and hand back what is in progress. May be called by a signal handler."""
        self._stopping.set()
        self._wake_ups.put(threading.Event())

    def _wait(self, seconds: float) -> threading.Event:
        try:
            return self._wake_ups.get(timeout=seconds)
        except queue.Empty:
            return threading.Event()

    def _look(self) -> bool:
        """Return expired leases, then take and run one job; False when there was none."""
        if self._stopping.is_set():
            return False
        database, artifacts, settings = self._database, self._artifacts, self._settings
        with database.write() as session:
            claims.reap(session, max_attempts=settings.max_attempts)
        with database.write() as session:
            claim = claims.take(
                session,
                worker=supervisor.worker_name(),
                lease=settings.lease,
                batching=Batching.of(settings),
                pools=settings.pools,
            )
        if claim is None:
            housekeeping.sweep(database, artifacts, settings)
            return False
        supervisor.run(database, settings, claim, self._stopping)
        housekeeping.destroy_samples(database, artifacts, settings)
        return True
