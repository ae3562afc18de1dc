"""The embedded worker: `python -m worker` polls the job table and runs one job at a time."""

import logging
import signal
import threading

from service.registry import claims, housekeeping, logs, traces
from service.registry.artifacts import Artifacts
from service.registry.batching import Batching
from service.registry.database import Database
from worker import metrics, supervisor
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)


def main() -> None:
    """Work until SIGTERM or SIGINT; a job in progress goes back to the queue."""
    settings = WorkerSettings()
    logs.configure(settings.log_format)
    traces.start("worker")
    database = Database(settings.resolved_database_url())
    metrics.serve(settings, database, supervisor.worker_name())
    artifacts = Artifacts(settings.data_dir)
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    logger.info("worker %s is ready", supervisor.worker_name())
    while not stopping.is_set():
        try:
            if not work(database, artifacts, settings, stopping):
                stopping.wait(settings.poll_interval.total_seconds())
        except Exception:
            # The database or the disk may come back; a worker that gave up would not.
            logger.exception("the worker could not look for a job")
            stopping.wait(settings.sweep_interval.total_seconds())
    database.close()
    traces.stop()


def work(database: Database, artifacts: Artifacts, settings: WorkerSettings, stopping: threading.Event) -> bool:
    """Tidy up and run the next job; was there one?"""
    housekeeping.sweep(database, artifacts, settings)
    with database.write() as session:
        claim = claims.take(
            session, worker=supervisor.worker_name(), lease=settings.lease, batching=Batching.of(settings)
        )
    if claim is None:
        return False
    supervisor.run(database, settings, claim, stopping)
    housekeeping.destroy_samples(database, artifacts, settings)
    return True


if __name__ == "__main__":
    main()
