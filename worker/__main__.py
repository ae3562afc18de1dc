"""The embedded worker: `python -m worker` polls the job table and runs one job at a time."""

import logging
import signal

from service.registry import logs, traces
from worker import supervisor
from worker.runner import Runner
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)


def main() -> None:
    """Work until SIGTERM or SIGINT; a job in progress goes back to the queue."""
    settings = WorkerSettings()
    logs.configure(settings.log_format)
    traces.start("worker")
    runner = Runner(settings, interval=settings.poll_interval)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: runner.stop())
    logger.info("worker %s is ready", supervisor.worker_name())
    runner.run()
    traces.stop()


if __name__ == "__main__":
    main()
