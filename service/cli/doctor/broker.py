"""The broker: whether it answers, keeps its messages, and has a consumer for each pool."""

from collections.abc import Iterator

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.job_queue.broker import celery_app, queue_of
from service.registry.settings import RegistrySettings

_PATIENCE = 2.0  # seconds


def answers(settings: RegistrySettings) -> Iterator[Finding]:
    """Whether the broker can be reached, and for which pools a Celery worker consumes."""
    if settings.broker_url is None:
        yield ok("broker", "none: workers look for runs themselves")
        return
    url = settings.broker_url.get_secret_value()
    app = celery_app(url, settings.celery_queue, settings.pools)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE)
            name = connection.as_uri()  # without the password
        # Not by `inspect`, which mixes up workers that share a name.
        replies = app.control.broadcast("active_queues", reply=True, timeout=_PATIENCE) or []
    except (OperationalError, OSError) as error:
        mend = "Start Redis, or put STRUCTGUARD_BROKER_URL right; requests are accepted meanwhile, and wait."
        yield problem("broker", f"it does not answer: {type(error).__name__}", mend)
        return
    yield _policy(url, name)
    consumed = {queue["name"] for reply in replies for queues in reply.values() for queue in queues}
    unserved = sorted(pool for pool in settings.pools if queue_of(settings.celery_queue, pool) not in consumed)
    if unserved:
        mend = "Start one with `celery --app worker.app worker`, the same broker and queue, and STRUCTGUARD_POOLS."
        yield problem("listeners", f"no Celery worker answers for the pools {', '.join(unserved)}", mend)
    else:
        yield ok("listeners", f"Celery workers answer for the pools {', '.join(sorted(settings.pools))}")


def _policy(url: str, name: str) -> Finding:
    """What Redis does when its memory is full; taken to be right where CONFIG GET is not permitted."""
    try:
        with Redis.from_url(url, socket_timeout=_PATIENCE) as client:
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except (RedisError, ValueError):
        return ok("broker", name)
    if policy != "noeviction":
        mend = "Set `maxmemory-policy noeviction` in Redis: others throw away messages."
        return warning("broker", f"{name}: its maxmemory-policy is {policy}", mend)
    return ok("broker", name)
