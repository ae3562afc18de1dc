"""Runs a claimed job in a process of its own and keeps the lease while that process lives.

A child per job gives its memory and its GPU back whatever happens, and can crash without taking the worker along.
"""

import logging
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from opentelemetry.trace import StatusCode
from sqlalchemy.exc import SQLAlchemyError

from service.registry.errors import FenceLost
from service.registry.job_queue import claims
from service.registry.job_queue.claims import Claim
from service.registry.reasons import Reason, ReasonCode
from service.registry.storage.database import Database
from service.registry.telemetry import logs, traces
from worker.settings import WorkerSettings
from worker.supervision import prometheus, tracing
from worker.supervision.watchdog import End, Watch

logger = logging.getLogger(__name__)

#: How a run on a CPU uses its machine; whatever the environment says itself has precedence. Measured on two cores that
#: others used too: ten gradients of a ResNet-20 took 29 s of CPU without, 20 s with what keeps memory, 5 s with the
#: last one as well.
ON_CPU = {
    # Each step allocates and frees the same large blocks. By default glibc asks the kernel for zeroed pages every time;
    # kept, they are used again. The peak stays what it was, it is only not given back while the process lives.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TOP_PAD_": str(2**30),
    # On huge pages: where a virtual machine translates addresses twice, small ones take longer than the arithmetic.
    # Five gradients of a batch of 256 in bfloat16, beside two other runs: 7.4 and 11.1 s of CPU without, 3.8 and 4.1 s
    # with them.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # A thread of torch that waits for another one spins, and so keeps the core from whoever it waits for.
    "OMP_WAIT_POLICY": "PASSIVE",
}

#: What runs a job; its identifier, fence and attempt follow.
CHILD = (sys.executable, "-m", "worker.job")

_RETRY_INTERVAL = 0.2  # seconds between two tries to reach the database
_EXIT_TIMEOUT = 5.0  # seconds that a child has to end by itself whose job is no longer this worker's


def worker_name() -> str:
    """The name of this process in the job table: host/pid."""
    return f"{platform.node()}/{os.getpid()}"


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    """Start a job's child process. It reads a pipe to its end, and so notices this process's death, even by SIGKILL."""
    environment = ON_CPU | os.environ | traces.environment()
    return subprocess.Popen([*CHILD, *arguments], stdin=subprocess.PIPE, env=environment)  # noqa: S603  (ours)


def run(database: Database, settings: WorkerSettings, claim: Claim, stopping: threading.Event) -> None:
    """Run the job to its end, whatever that is; when `stopping` is set, hand it back to the queue."""
    with logs.context(job=str(claim.job_id), attempt=claim.attempt), tracing.job(database, claim) as span:
        if not _attempt(database, settings, claim, stopping):
            span.set_status(StatusCode.ERROR)


def _attempt(database: Database, settings: WorkerSettings, claim: Claim, stopping: threading.Event) -> bool:
    """Run one attempt in a child process; True if the child ended the job itself, False if it was lost or stopped."""
    child = start(str(claim.job_id), str(claim.fence), str(claim.attempt))
    logger.info("job %s: attempt %d in process %d", claim.job_id, claim.attempt, child.pid)
    try:
        with prometheus.attempt(child.pid):
            end = _wait(Watch(database, settings, claim), child, stopping)
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
    if child.returncode == 0:
        prometheus.ended(database, claim)
        return True
    prometheus.lost()
    reason = _reason(end, settings, child.returncode)
    logger.warning("job %s: %s", claim.job_id, reason)
    deadline = time.monotonic() + settings.lease.total_seconds()
    while not _end(database, settings, claim, end, reason) and time.monotonic() < deadline:
        time.sleep(_RETRY_INTERVAL)  # until the lease returns the job without us
    return False


def _end(database: Database, settings: WorkerSettings, claim: Claim, end: End, reason: Reason) -> bool:
    """Record in the job table how the attempt ended; False when the database does not answer."""
    try:
        with database.write() as session:
            if end is End.STOPPED:
                claims.release(session, claim, reason=reason)
            elif end is End.OVERDUE:
                claims.report_failure(session, claim, reason=reason)
            else:
                claims.report_crash(session, claim, reason=reason, max_attempts=settings.max_attempts)
    except FenceLost:
        logger.info("job %s had ended or changed hands before", claim.job_id)
    except SQLAlchemyError as error:
        logger.warning("job %s: not given back, the database does not answer (%s)", claim.job_id, type(error))
        return False
    return True


def _wait(watch: Watch, child: "subprocess.Popen[bytes]", stopping: threading.Event) -> End:
    """Wait until the child exits, should be ended, or the worker stops; the child may still be running."""
    while not stopping.is_set():
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=watch.pause)
            return End.DIED
        if end := watch.look():
            if end is End.LOST:
                with suppress(subprocess.TimeoutExpired):  # most likely it has just published, and is about to end
                    child.wait(timeout=_EXIT_TIMEOUT)
            return end
    return End.STOPPED


def _reason(end: End, settings: WorkerSettings, code: int) -> Reason:
    if end is End.STOPPED:
        return Reason(ReasonCode.WORKER_STOPPED)
    if end is End.OVERDUE:
        return Reason(ReasonCode.TIMED_OUT, None, {"seconds": settings.job_timeout.total_seconds()})
    if end is End.STALLED:
        return Reason(ReasonCode.PROCESS_STALLED, None, {"seconds": settings.stall_timeout.total_seconds()})
    if end is End.WITHDRAWN:
        return Reason(ReasonCode.WITHDRAWN)
    if code < 0:
        return Reason(ReasonCode.PROCESS_KILLED, None, {"signal": signal.Signals(-code).name})
    return Reason(ReasonCode.PROCESS_EXITED, None, {"status": code})
