"""The embedded worker: `python -m worker` polls the job table and runs one job at a time."""

import logging
import signal

from service.registry.telemetry import logs, traces
from worker.settings import WorkerSettings
from worker.supervision import supervisor
from worker.supervision.runner import Runner

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
