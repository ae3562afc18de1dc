"""The Redis that tests may use, if there is one."""

import os

import pytest
import redis

REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/0")


def needs_redis() -> None:
    """Skip where there is none, and fail in CI."""
    try:
        with redis.Redis.from_url(REDIS) as broker:
            broker.ping()
    except redis.ConnectionError:
        if "CI" in os.environ:
            raise
        pytest.skip("no Redis")
