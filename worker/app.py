"""The Celery worker: `celery --app worker.app worker --pool prefork --concurrency 1`.

A broker message only says that there may be a job. Which one is read from the job table, exactly as by the embedded
worker; a worker that no message reaches polls the table every `sweep_interval`.

Processes of the pool are forked. That is safe here: they open the database after the fork, and never touch CUDA,
which only the job's own process uses.
"""

import os
import signal
import threading

from billiard import active_children
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown, worker_shutting_down

from service.registry.job_queue.broker import TASK, celery_app
from service.registry.telemetry import logs, traces
from worker.settings import WorkerSettings
from worker.supervision.runner import Runner

_SIGNAL_INTERVAL = 0.5  # seconds
_SHUTDOWN_TIMEOUT = 10.0  # seconds for a job to be handed back

settings = WorkerSettings()
if settings.broker_url is None:
    raise SystemExit("STRUCTGUARD_BROKER_URL is not set; without a broker, run `python -m worker` instead")
app = celery_app(settings.broker_url.get_secret_value(), settings.celery_queue, settings.pools)
# The supervisor ends a job that takes too long. This limit ends a supervisor that hangs, and with it its job (prefork
# only). Twice the timeout, because a task may wait for a job that the process took by polling, and then run another.
app.conf.task_time_limit = 2 * settings.job_timeout.total_seconds() + 60

_running: list[tuple[Runner, threading.Thread]] = []  # one, in a process of the pool


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(**_: object) -> None:
    """A receiver of this signal keeps Celery from configuring the log itself."""
    logs.configure(settings.log_format)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _begin(**_: object) -> None:
    traces.start("worker")
    runner = Runner(settings, interval=settings.sweep_interval)
    thread = threading.Thread(target=runner.run, name="runner", daemon=True)
    _running.append((runner, thread))
    thread.start()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _end(**_: object) -> None:
    """However the process is asked to end, its job is handed back first."""
    for runner, thread in _running:
        runner.stop()
        thread.join(_SHUTDOWN_TIMEOUT)
    traces.stop()


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def run_job(_: str) -> None:
    """Look into the job table and run the job that is due; Celery counts the worker as busy until then."""
    for runner, _thread in _running:
        previous_handler = signal.signal(signal.SIGINT, lambda *_, runner=runner: runner.stop())
        try:
            runner.look()
        finally:
            signal.signal(signal.SIGINT, previous_handler)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _interrupt(**_: object) -> None:
    """A warm shutdown would wait for the end of the job in progress, which may take hours.

    SIGINT ends that; processes of the pool that are not in a task ignore it, and end by themselves.
    """

    def interrupt() -> None:
        while True:  # until this process ends: a job may be about to begin
            for process in active_children():
                os.kill(process.pid, signal.SIGINT)
            stopped.wait(_SIGNAL_INTERVAL)

    stopped = threading.Event()
    threading.Thread(target=interrupt, daemon=True).start()
