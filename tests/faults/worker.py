"""The real workers, polling and Celery's, whose children run `tests.faults.stand_in` in place of `worker.job`."""

import os
from functools import cache

from tests.faults.nursery import Nursery
from worker.__main__ import main
from worker.supervision import supervisor

if "STRUCTGUARD_BROKER_URL" in os.environ:
    from worker.app import app  # noqa: F401  (Celery looks for it here)


@cache
def _nursery(_pid: int) -> Nursery:
    return Nursery()


def _start(*arguments):
    return _nursery(os.getpid()).bear(*arguments)  # not one that was there before Celery forked


supervisor.start = _start

if __name__ == "__main__":
    main()
