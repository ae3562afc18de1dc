"""The real workers, polling and Celery's, whose children run `tests.faults.stand_in` in place of `worker.job`."""

import os
import sys

from worker import supervisor
from worker.__main__ import main

supervisor.CHILD = (sys.executable, "-m", "tests.faults.stand_in")

if "STRUCTGUARD_BROKER_URL" in os.environ:
    from worker.app import app  # noqa: F401  (Celery looks for it here)

if __name__ == "__main__":
    main()
