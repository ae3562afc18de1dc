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
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from service.registry import claims, jobs, logs, traces
from service.registry.claims import Claim
from service.registry.database import Database
from service.registry.errors import FenceLost
from worker import metrics
from worker.settings import WorkerSettings

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


def worker_name() -> str:
    """This process, as the job table names it."""
    return f"{platform.node()}/{os.getpid()}"


def run(database: Database, settings: WorkerSettings, claim: Claim, stopping: threading.Event) -> None:
    """Run the job to its end, whatever that is; when `stopping` is set, hand it back to the queue."""
    with logs.about(job=str(claim.job_id), attempt=claim.attempt), _traced(database, claim) as span:
        if not _attempt(database, settings, claim, stopping):
            span.failed()


@contextmanager
def _traced(database: Database, claim: Claim) -> Iterator[traces.Span]:
    """A span below the request that came first; those that share its run are linked."""
    if not traces.are_on():
        yield traces.Span(None)
        return
    with database.read() as session:
        requests = jobs.requests_of(session, claim.job_id)
    asked = [request.traceparent for request in requests if request.traceparent]
    with traces.span("job", parent=next(iter(asked), None), links=asked[1:], kind="consumer") as span:
        span.describe(
            structguard__job__id=str(claim.job_id),
            structguard__job__attempt=claim.attempt,
            structguard__job__requests=len(requests),
        )
        yield span


def _attempt(database: Database, settings: WorkerSettings, claim: Claim, stopping: threading.Event) -> bool:
    """Has the job ended?"""
    command = [*CHILD, str(claim.job_id), str(claim.fence), str(claim.attempt)]
    # The child reads the pipe until it ends: that tells it when this process has died, even by SIGKILL.
    environment = ON_CPU | os.environ | traces.environment()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603  (our own module)
    logger.info("job %s: attempt %d in process %d", claim.job_id, claim.attempt, child.pid)
    try:
        with metrics.attempt(child.pid):
            _wait(database, settings, claim, child, stopping)
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
    if child.returncode == 0:
        metrics.ended(database, claim)
        return True
    metrics.lost()
    reason = "the worker was stopped" if stopping.is_set() else f"the worker's process {_ended(child.returncode)}"
    logger.warning("job %s: %s", claim.job_id, reason)
    try:
        with database.write() as session:
            claims.give_back(session, claim, reason=reason, max_attempts=settings.max_attempts)
    except FenceLost:
        logger.info("job %s had ended or changed hands before", claim.job_id)
    return False


def _wait(
    database: Database,
    settings: WorkerSettings,
    claim: Claim,
    child: "subprocess.Popen[bytes]",
    stopping: threading.Event,
) -> None:
    beat = settings.lease.total_seconds() / 3
    waited = 0.0
    pause = min(0.2, beat)  # how late an end or a stop is noticed
    while not stopping.is_set():
        try:
            child.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            waited += pause
        else:
            return
        if waited >= beat:
            try:
                with database.write() as session:
                    claims.heartbeat(session, claim, settings.lease)
            except FenceLost:
                logger.info("job %s has ended or changed hands", claim.job_id)
                return
            except SQLAlchemyError as error:  # again after the next pause: the lease may still be kept
                logger.warning("job %s: no heartbeat, the database does not answer (%s)", claim.job_id, type(error))
            else:
                waited = 0.0


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
