"""The Celery worker, whose jobs make few surrogates: `celery --app tests.operations.quick_worker worker`."""

import sys

from worker.app import app
from worker.supervision import supervisor

__all__ = ["app"]

supervisor.CHILD = (sys.executable, "-m", "tests.operations.quick_job")
