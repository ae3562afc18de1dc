"""The Celery worker itself, with jobs that never end."""

import sys

from worker import supervisor
from worker.app import app  # noqa: F401  (Celery looks for it here)

supervisor.CHILD = (sys.executable, "-c", "import time; time.sleep(600)")
