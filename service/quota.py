"""How often a caller may call (draft-ietf-httpapi-ratelimit-headers)."""

import time
from dataclasses import dataclass

from limits import RateLimitItemPerSecond, WindowStats
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from service.registry.scopes import Caller
from service.settings import ServiceSettings

POLICY = "default"
_WINDOW = 60  # seconds
_PATIENCE = 0.5  # seconds for Redis to answer


@dataclass(frozen=True)
class Window:
    """What is left of a caller's window."""

    is_left: bool
    seconds: int  # until the next one
    headers: dict[str, str]


class Quota:
    """So many requests a minute for each caller: counted in Redis where there is a broker, else by each process."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._is_shared = settings.broker_url is not None
        if settings.broker_url is None:
            storage = storage_from_string("memory://")
        else:
            patience = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
            storage = storage_from_string(settings.broker_url.get_secret_value(), **patience)
        self._limit = RateLimitItemPerSecond(settings.rate_limit, _WINDOW)
        self._limiter = FixedWindowRateLimiter(storage)
        self._policy = f'"{POLICY}";q={settings.rate_limit};w={_WINDOW}'

    async def spend(self, caller: Caller) -> Window:
        """Count one request."""
        return await run_in_threadpool(self._spend, caller) if self._is_shared else self._spend(caller)

    def _spend(self, caller: Caller) -> Window:
        try:
            is_left = self._limiter.hit(self._limit, caller.subject)
            stats = self._limiter.get_window_stats(self._limit, caller.subject)
        except Exception:  # noqa: BLE001  (whatever Redis has: a limit is not worth losing deletion requests for)
            is_left, stats = True, WindowStats(time.time() + _WINDOW, self._limit.amount)
        seconds = max(1, round(stats.reset_time - time.time()))
        left = f'"{POLICY}";r={stats.remaining};t={seconds}'
        return Window(is_left, seconds, {"RateLimit-Policy": self._policy, "RateLimit": left})
