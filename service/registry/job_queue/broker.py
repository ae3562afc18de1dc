"""The message that tells Celery workers to look at the job table. It carries a job's identifier and nothing else.

It is only a hint: lost, doubled, early or late, it does no harm, because the row decides.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from service.registry.settings import DEFAULT_POOL

if TYPE_CHECKING:
    from celery import Celery

TASK = "structguard.run_job"
_EXPIRES = 3600  # seconds, by the clocks of two machines; the sweeper publishes another one while the job waits


def celery_app(broker_url: str, queue: str, pools: Iterable[str]) -> "Celery":
    """The Celery application of service and worker, with the queues of these pools."""
    from celery import Celery  # noqa: PLC0415

    app = Celery("structguard", broker=broker_url)
    names = [queue_of(queue, pool) for pool in sorted(pools)]
    app.conf.update(
        task_default_queue=queue,
        task_queues={name: {"exchange": name, "routing_key": name} for name in names},
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        # A publisher must not hang on an unreachable broker: the sweeper publishes again.
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_publish_retry=False,
        # The message is acknowledged early: the lease in the job table, not the broker, brings lost work back.
        task_acks_late=False,
        # A message that a busy worker keeps in reserve is one that an idle worker does not get.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
    )
    return app


def queue_of(queue: str, pool: str) -> str:
    """The queue that the workers of a pool listen to, where `queue` is that of the pool `default`."""
    return queue if pool == DEFAULT_POOL else f"{queue}.{pool}"


def publish_hints(app: "Celery", jobs: Mapping[uuid.UUID, str]) -> None:
    """Publish a message for each of these jobs, given with its pool, to the queue of that pool.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    for job_id, pool in jobs.items():
        queue = queue_of(app.conf.task_default_queue, pool)
        app.send_task(TASK, args=[str(job_id)], queue=queue, expires=_EXPIRES)
