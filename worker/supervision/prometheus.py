"""Prometheus metrics of one worker process, served on a port of its own."""

import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.registry.job_queue.claims import Claim
from service.registry.states import Phase, State
from service.registry.storage.database import Database
from service.registry.tables import Job
from worker.settings import WorkerSettings
from worker.supervision.gpus import GpuCollector

logger = logging.getLogger(__name__)

_IDLE = "idle"

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series
_registry = CollectorRegistry()
_attempts = Counter(
    "structguard_worker_attempts",
    "Attempts at jobs: the job ended, or the attempt came to nothing.",
    ("outcome",),
    registry=_registry,
)
_busy = Counter("structguard_worker_busy_seconds", "Time for which there was a job.", registry=_registry)
_phases = Counter(
    "structguard_worker_phase_seconds",
    "Time spent in each phase of the jobs that this worker brought to a version.",
    ("phase",),
    registry=_registry,
)
for _outcome in ("ended", "lost"):
    _attempts.labels(_outcome)
for _phase in Phase:
    _phases.labels(_phase)
ProcessCollector(registry=_registry)

_children: set[int] = set()


def serve(settings: WorkerSettings, database: Database, worker: str) -> None:
    """Start the metrics server if a port is set. A port that is taken is logged, and the worker goes on without."""
    if settings.metrics_port is None:
        return
    _registry.register(_WorkerCollector(database, worker))
    _registry.register(GpuCollector())
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=_registry)
    except OSError as error:
        logger.warning("no metrics on port %d: %s", settings.metrics_port, error.strerror)


@contextmanager
def attempt(child: int) -> Iterator[None]:
    """Count the time of the block as busy, and sample the memory of the child process with this id while it lasts."""
    started = time.monotonic()
    _children.add(child)
    try:
        yield
    finally:
        _children.discard(child)
        _busy.inc(time.monotonic() - started)


def ended(database: Database, claim: Claim) -> None:
    """Count an attempt that ended by itself, and the seconds per phase if it made a version."""
    _attempts.labels("ended").inc()
    done = (Job.fence == claim.fence, Job.state.in_((State.COMPLETED, State.NEEDS_REVIEW)))
    try:
        with database.read() as session:
            seconds = session.scalar(select(Job.seconds).where(Job.id == claim.job_id, *done))
    except SQLAlchemyError:
        return
    for phase, taken in (seconds or {}).items():
        _phases.labels(phase).inc(taken)


def lost() -> None:
    """Count an attempt that did not end by itself."""
    _attempts.labels("lost").inc()


class _WorkerCollector(Collector):
    """The phase of the worker's running job, and the memory of its process."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database = database
        self._worker = worker

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        phase = GaugeMetricFamily("structguard_worker_phase", "1 = it is at this.", labels=["phase"])
        try:
            at = self._phase()
        except SQLAlchemyError:
            pass  # the database is away: no phase is better than a wrong one
        else:
            for each in (_IDLE, *Phase):
                phase.add_metric([each], float(each == at))
        yield phase
        now, peak = _memory()
        yield GaugeMetricFamily("structguard_worker_job_memory_bytes", "Resident, of the job's process.", value=now)
        text = "The most that a job's process has had resident since the worker started."
        yield GaugeMetricFamily("structguard_worker_job_peak_memory_bytes", text, value=peak)

    def _phase(self) -> str:
        running = select(Job.phase).where(Job.state == State.RUNNING, Job.worker == self._worker).limit(1)
        with self._database.read() as session:
            return session.scalar(running) or _IDLE


def _memory() -> tuple[int, int]:
    """Resident bytes of the children now (from /proc, Linux only), and the peak over them and those that have ended."""
    now, peak = 0, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for child in list(_children):
        try:
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in lines)
        now += 1024 * int(fields.get("VmRSS", "0 kB").split()[0])
        peak = max(peak, 1024 * int(fields.get("VmHWM", "0 kB").split()[0]))
    return now, peak
