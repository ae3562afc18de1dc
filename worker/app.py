"""The Celery worker: `celery --app worker.app worker --pool prefork --concurrency 1`.

A message brings a job's identifier; everything else comes from the job table, exactly as for the embedded worker.

Processes of the pool are forked, which no library minds here: they open the database for each job anew, and never touch
CUDA, which belongs to the job's own process.
"""

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from billiard import active_children  # type: ignore[import-untyped]
from celery.signals import worker_shutting_down

from service.registry import claims, housekeeping, jobs
from service.registry.artifacts import Artifacts
from service.registry.batching import Batching
from service.registry.database import Database
from service.registry.doorbell import TASK, celery_app, ring
from worker import supervisor
from worker.settings import WorkerSettings

_AGAIN = 0.5  # seconds

settings = WorkerSettings()
if settings.broker_url is None:
    raise SystemExit("STRUCTGUARD_BROKER_URL is not set; without a broker, run `python -m worker` instead")
app = celery_app(settings.broker_url.get_secret_value(), settings.celery_queue, settings.pools)
# The supervisor ends what takes too long. This ends a supervisor that hangs, and with it its job; prefork only.
app.conf.task_time_limit = settings.job_timeout.total_seconds() + 60


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def run_job(job_id: str) -> None:
    """Run the job unless somebody else has it, an earlier job of its model is not done, or it has ended."""
    database = Database(settings.resolved_database_url())  # here, because connections must not cross a fork
    artifacts = Artifacts(settings.data_dir)
    try:
        with _until_stopped() as stopping:
            with database.write() as session:
                claim = claims.take(
                    session,
                    worker=supervisor.worker_name(),
                    lease=settings.lease,
                    job_id=uuid.UUID(job_id),
                    batching=Batching.of(settings),
                    pools=settings.pools,
                )
            if claim is None:
                return
            supervisor.run(database, settings, claim, stopping)
            housekeeping.destroy_samples(database, artifacts, settings)
            with database.read() as session:
                waiting = jobs.next_in_line(session, claim.job_id)
            ring(app, waiting)
    finally:
        database.close()


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Set when this process of the pool gets SIGINT, which it ignores at other times, or SIGTERM.

    Celery sends SIGTERM to have the process end at once, so that it does, but not before the job is back in the queue.
    """
    stopping = threading.Event()
    heard = set()

    def stop(number: int, _: object) -> None:
        heard.add(number)
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signal.SIGTERM in heard:
            os.kill(os.getpid(), signal.SIGTERM)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _return_jobs(**_: object) -> None:
    """Have the job in progress handed back: a warm shutdown would wait for its end, which may take hours."""

    def interrupt() -> None:
        while True:  # until this process ends: a job may be about to begin
            for process in active_children():
                os.kill(process.pid, signal.SIGINT)
            stopped.wait(_AGAIN)

    stopped = threading.Event()
    threading.Thread(target=interrupt, daemon=True).start()
