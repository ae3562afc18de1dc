"""The Celery worker: `celery --app worker.app worker --pool prefork --concurrency 1`.

A message brings a job's identifier; everything else comes from the job table, exactly as for the embedded worker.
"""

import threading
import uuid

from celery.signals import setup_logging, worker_process_init, worker_process_shutdown

from service.registry import claims, housekeeping, jobs, logs, traces
from service.registry.artifacts import Artifacts
from service.registry.batching import Batching
from service.registry.database import Database
from service.registry.doorbell import TASK, celery_app, ring
from worker import metrics, supervisor
from worker.settings import WorkerSettings

settings = WorkerSettings()
if settings.broker_url is None:
    raise SystemExit("STRUCTGUARD_BROKER_URL is not set; without a broker, run `python -m worker` instead")
app = celery_app(settings.broker_url.get_secret_value(), settings.celery_queue)


@setup_logging.connect  # type: ignore[untyped-decorator]
def configure_logging(**_: object) -> None:
    """Celery leaves the log alone if somebody answers to this."""
    logs.configure(settings.log_format)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def begin(**_: object) -> None:
    """What a process that runs jobs has of its own: threads do not survive the fork that makes it."""
    traces.start("worker")
    metrics.serve(settings, Database(settings.resolved_database_url()), supervisor.worker_name())


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def end(**_: object) -> None:
    """It will run no more jobs."""
    traces.stop()


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def run_job(job_id: str) -> None:
    """Run the job unless somebody else has it, an earlier job of its model is not done, or it has ended."""
    database = Database(settings.resolved_database_url())  # here, because connections must not cross a fork
    artifacts = Artifacts(settings.data_dir)
    try:
        with database.write() as session:
            claim = claims.take(
                session,
                worker=supervisor.worker_name(),
                lease=settings.lease,
                job_id=uuid.UUID(job_id),
                batching=Batching.of(settings),
            )
        if claim is None:
            return
        supervisor.run(database, settings, claim, threading.Event())
        housekeeping.destroy_samples(database, artifacts, settings)
        with database.read() as session:
            waiting = jobs.next_in_line(session, claim.job_id)
        if waiting is not None:
            ring(app, [waiting])
    finally:
        database.close()
