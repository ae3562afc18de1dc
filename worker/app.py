"""The Celery worker: `celery --app worker.app worker --pool prefork --concurrency 1`.

A message says that there may be something to do. What that is stands in the job table, exactly as for the embedded
worker; and a worker that no message reaches looks there by itself, every `sweep_interval`.
"""

import threading

from celery.signals import worker_process_init, worker_process_shutdown

from service.registry.doorbell import TASK, celery_app
from worker.runner import Runner
from worker.settings import WorkerSettings

settings = WorkerSettings()
if settings.broker_url is None:
    raise SystemExit("STRUCTGUARD_BROKER_URL is not set; without a broker, run `python -m worker` instead")
app = celery_app(settings.broker_url.get_secret_value(), settings.celery_queue)

_of_this_process: list[tuple[Runner, threading.Thread]] = []


def _begin(**_: object) -> None:
    runner = Runner(settings, interval=settings.sweep_interval)  # here, because connections must not cross a fork
    thread = threading.Thread(target=runner.run, name="runner", daemon=True)
    _of_this_process.append((runner, thread))
    thread.start()


def _end(**_: object) -> None:
    for runner, thread in _of_this_process:
        runner.stop()
        thread.join(timeout=10)


worker_process_init.connect(_begin)
worker_process_shutdown.connect(_end)


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def run_job(_: str) -> None:
    """Look into the job table; Celery counts the worker as busy until that, and what it found there, is over."""
    for runner, _thread in _of_this_process:
        runner.look()
