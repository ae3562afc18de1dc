"""What `tests.faults.recovery` compares with: Celery as its documentation says for tasks that must not be lost."""

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("plain", broker=os.environ["PLAIN_BROKER"])
app.conf.update(
    task_default_queue=os.environ["PLAIN_QUEUE"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if "PLAIN_VISIBILITY" in os.environ:
    app.conf.broker_transport_options = {
        "visibility_timeout": int(os.environ["PLAIN_VISIBILITY"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }


@app.task(name="plain.work", ignore_result=True)
def work(starts: str) -> None:
    """Note when it began, and take long."""
    with Path(starts).open("a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(600)
