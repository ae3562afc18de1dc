"""The Celery worker itself, with jobs that never end."""

import sys

from worker.app import app  # noqa: F401  (Celery looks for it here)
from worker.supervision import supervisor

supervisor.CHILD = (sys.executable, "-c", "import time; time.sleep(600)")
