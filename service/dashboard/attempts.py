"""Rate limit of failed sign-ins. Keys are too long to guess; this slows down whoever tries all the same."""

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

_LIMIT = RateLimitItemPerMinute(10)


class Attempts:
    """Counts failed sign-ins by address, in memory only: an address may identify a person."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def is_allowed(self, address: str) -> bool:
        """Whether the address may try again."""
        return self._limiter.test(_LIMIT, address)

    def record_failure(self, address: str) -> None:
        """Count a sign-in with an invalid key."""
        self._limiter.hit(_LIMIT, address)
