"""How often somebody may try to sign in. Keys are too long to guess; this is for whoever tries all the same."""

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

_MOST = RateLimitItemPerMinute(10)


class Attempts:
    """Counts what failed, by address, in this process and nowhere else: an address may stand for a person."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def are_left(self, address: str) -> bool:
        """May it try again?"""
        return self._limiter.test(_MOST, address)

    def failed(self, address: str) -> None:
        """It has tried, and the key was not good."""
        self._limiter.hit(_MOST, address)
