"""How often a caller may call (draft-ietf-httpapi-ratelimit-headers)."""

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
_PATIENCE = 0.5  # seconds for Redis to answer
_CALLERS = 100_000  # that are remembered at once


@dataclass(frozen=True)
class Window:
    """What is left of a caller's window."""

    is_left: bool
    seconds: int  # until the next one
    headers: dict[str, str]


@dataclass
class _Counted:
    """What a caller has used of a window."""

    requests: int
    until: float  # seconds since 1970


class Quota:
    """So many requests a minute for each caller: counted in Redis where there is a broker, else by each process."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._most = settings.rate_limit
        self._policy = f'"{POLICY}";q={settings.rate_limit};w={_WINDOW}'
        # Not the memory of `limits`, which starts a thread a hundred times a second as long as anybody calls.
        self._counted = TTLCache[str, _Counted](maxsize=_CALLERS, ttl=_WINDOW)
        self._shared = _Shared(settings.broker_url.get_secret_value(), self._most) if settings.broker_url else None

    async def spend(self, caller: Caller) -> Window:
        """Count one request."""
        counted = await run_in_threadpool(self._shared.spend, caller.subject) if self._shared else self._spend(caller)
        seconds = max(1, round(counted.until - time.time()))
        left = max(0, self._most - counted.requests)
        headers = {"RateLimit-Policy": self._policy, "RateLimit": f'"{POLICY}";r={left};t={seconds}'}
        return Window(counted.requests <= self._most, seconds, headers)

    def _spend(self, caller: Caller) -> _Counted:
        counted = self._counted.get(caller.subject)
        if counted is None:
            counted = self._counted[caller.subject] = _Counted(0, time.time() + _WINDOW)
        counted.requests += 1
        return counted


class _Shared:
    """By all processes together."""

    def __init__(self, broker_url: str, most: int) -> None:
        storage = storage_from_string(broker_url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
        self._limit = RateLimitItemPerSecond(most, _WINDOW)
        self._limiter = FixedWindowRateLimiter(storage)

    def spend(self, subject: str) -> _Counted:
        try:
            is_left = self._limiter.hit(self._limit, subject)
            stats = self._limiter.get_window_stats(self._limit, subject)
        except Exception:  # noqa: BLE001  (whatever Redis has: a limit is not worth losing deletion requests for)
            return _Counted(0, time.time() + _WINDOW)
        used = self._limit.amount - stats.remaining
        return _Counted(used if is_left else used + 1, stats.reset_time)
