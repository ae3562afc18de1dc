"""The doorbell: does it work, does it keep what it is told, and does anybody listen?"""

from collections.abc import Iterator

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.doorbell import celery_app
from service.registry.settings import RegistrySettings

_PATIENCE = 2.0  # seconds


def answers(settings: RegistrySettings) -> Iterator[Finding]:
    """Whether it takes messages, and which workers answer over it."""
    if settings.broker_url is None:
        yield ok("broker", "none: workers look for runs themselves")
        return
    url = settings.broker_url.get_secret_value()
    app = celery_app(url, settings.celery_queue)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE)
            name = connection.as_uri()  # without the password
        listening = app.control.inspect(timeout=_PATIENCE).active_queues() or {}
    except (OperationalError, OSError) as error:
        mend = (
            "Start Redis, or put STRUCTGUARD_BROKER_URL right; until then runs begin with the next sweep of a worker."
        )
        yield problem("broker", f"it does not answer: {type(error).__name__}", mend)
        return
    yield _policy(url, name)
    ours = [
        worker for worker, queues in listening.items() if settings.celery_queue in {queue["name"] for queue in queues}
    ]
    if ours:
        yield ok("listeners", f"{len(ours)} Celery workers listen on {settings.celery_queue}")
    else:
        mend = "Start one with `celery --app worker.app worker`, and the same broker and queue."
        yield problem("listeners", f"no Celery worker listens on {settings.celery_queue}", mend)


def _policy(url: str, name: str) -> Finding:
    """What Redis does when its memory is full. Where it may not be asked, it is taken to be right."""
    try:
        with Redis.from_url(url, socket_timeout=_PATIENCE) as client:
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except (RedisError, ValueError):
        return ok("broker", name)
    if policy != "noeviction":
        mend = "Set `maxmemory-policy noeviction` in Redis: others throw away messages."
        return warning("broker", f"{name}: its maxmemory-policy is {policy}", mend)
    return ok("broker", name)
