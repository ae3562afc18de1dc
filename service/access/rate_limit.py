"""Rate limits: requests per caller and minute (draft-ietf-httpapi-ratelimit-headers)."""

import time
from dataclasses import dataclass

from cachetools import TTLCache
from limits import RateLimitItemPerSecond
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from service.registry.access.scopes import Caller
from service.settings import ServiceSettings

POLICY = "default"
_WINDOW = 60  # seconds
_REDIS_TIMEOUT = 0.5  # seconds
_MAX_CALLERS = 100_000  # that one process counts at once


@dataclass(frozen=True)
class Window:
    """Whether a request is within its caller's quota, and when that begins anew."""

    is_allowed: bool
    reset_seconds: int  # until the next window
    headers: dict[str, str]


@dataclass
class _Usage:
    """Requests of a caller in the current window."""

    requests: int
    resets_at: float  # seconds since 1970


class Quota:
    """A number of requests a minute for each caller, counted in Redis where there is a broker, else by each process."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._limit = settings.rate_limit
        self._policy = f'"{POLICY}";q={settings.rate_limit};w={_WINDOW}'
        # Not the memory of `limits`, which starts a thread a hundred times a second as long as anybody calls.
        self._usage = TTLCache[str, _Usage](maxsize=_MAX_CALLERS, ttl=_WINDOW)
        self._shared = (
            _RedisCounter(settings.broker_url.get_secret_value(), self._limit) if settings.broker_url else None
        )

    async def spend(self, caller: Caller) -> Window:
        """Count one request of a caller."""
        usage = await run_in_threadpool(self._shared.spend, caller.subject) if self._shared else self._spend(caller)
        seconds = max(1, round(usage.resets_at - time.time()))
        remaining = max(0, self._limit - usage.requests)
        headers = {"RateLimit-Policy": self._policy, "RateLimit": f'"{POLICY}";r={remaining};t={seconds}'}
        return Window(usage.requests <= self._limit, seconds, headers)

    def _spend(self, caller: Caller) -> _Usage:
        usage = self._usage.get(caller.subject)
        if usage is None:
            usage = self._usage[caller.subject] = _Usage(0, time.time() + _WINDOW)
        usage.requests += 1
        return usage


class _RedisCounter:
    """Counts the requests of all processes together."""

    def __init__(self, broker_url: str, limit: int) -> None:
        storage = storage_from_string(broker_url, socket_timeout=_REDIS_TIMEOUT, socket_connect_timeout=_REDIS_TIMEOUT)
        self._limit = RateLimitItemPerSecond(limit, _WINDOW)
        self._limiter = FixedWindowRateLimiter(storage)

    def spend(self, subject: str) -> _Usage:
        try:
            is_allowed = self._limiter.hit(self._limit, subject)
            stats = self._limiter.get_window_stats(self._limit, subject)
        except Exception:  # noqa: BLE001  (whatever ails Redis: a limit is not worth losing deletion requests for)
            return _Usage(0, time.time() + _WINDOW)
        used = self._limit.amount - stats.remaining
        return _Usage(used if is_allowed else used + 1, stats.reset_time)
