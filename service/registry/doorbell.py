"""The message that tells Celery workers to look at the job table. It carries a job's identifier and nothing else.

It is only a hint: lost, doubled, early or late, it does no harm, because the row decides.
"""

import uuid
from collections.abc import Iterable

from celery import Celery

TASK = "structguard.run_job"
_EXPIRES = 3600  # seconds, by the clocks of two machines; a job is announced again and again while no worker runs


def celery_app(broker_url: str, queue: str) -> Celery:
    """The Celery application that both sides of the doorbell share."""
    app = Celery("structguard", broker=broker_url)
    app.conf.update(
        task_default_queue=queue,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        # A publisher must not hang on a broker that is away: the sweeper rings again.
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_publish_retry=False,
        # The message is acknowledged early: the lease in the job table, not the broker, brings lost work back.
        task_acks_late=False,
        # A message that a busy worker keeps in reserve is one that an idle worker does not get.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
    )
    return app


def ring(app: Celery, job_ids: Iterable[uuid.UUID]) -> None:
    """Tell the workers of these jobs; raises `kombu.exceptions.OperationalError` when the broker is away."""
    for job_id in job_ids:
        app.send_task(TASK, args=[str(job_id)], expires=_EXPIRES)
