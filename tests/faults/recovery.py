"""How long until a job runs again whose worker was killed: here, and with plain Celery and late acknowledgement.

`python -m tests.faults.recovery --n 5` kills workers with everything below them by SIGKILL, starts them again at once,
and prints one table. Nothing else goes wrong meanwhile. Celery has its own `n` workers at the same time, each with a
queue of its own.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from celery import Celery
from sqlalchemy import select

from service.cli.stack import free_port
from service.registry.states import ENDED, State
from service.registry.tables import DeletionRequest, Job, Transition
from tests.faults import topology
from tests.faults.clients import Clients
from tests.faults.topology import Program, Topology, send
from tests.faults.verdict import quantiles


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.recovery", description=__doc__)
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for Celery's defaults")
    chosen = parser.parse_args()
    print("| | n | median | p99 | max |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="structguard-recovery-") as folder:
        for visibility in (20, None):
            name = "visibility timeout 3600 s (default)" if visibility is None else f"visibility timeout {visibility} s"
            seconds = plain(Path(folder), chosen.n, visibility, chosen.patience)
            show(f"Celery, acks_late, {name}", seconds, chosen.n, chosen.patience)
        for kind in ("postgresql", "sqlite"):
            for lease, sweep in ((5.0, 1.0), (30.0, 5.0)):
                seconds = ours(kind, Path(folder), chosen.n, lease, sweep)
                show(f"StructGuard, {kind}, lease {lease:g} s, sweep {sweep:g} s", seconds, chosen.n, chosen.patience)


def show(name: str, seconds: list[float], n: int, patience: float) -> None:
    """One line of the table."""
    if len(seconds) < n:
        print(f"| {name} | {n} | {n - len(seconds)} of {n} not within {patience:g} s | | |", flush=True)
    else:
        print(f"| {name} | {n} | " + " | ".join(f"{value:.1f}" for value in quantiles(seconds)) + " |", flush=True)


def plain(folder: Path, n: int, visibility: int | None, patience: float) -> list[float]:
    """Seconds from SIGKILL to the task's next start, of those that started again in time."""
    with ExitStack() as stack:
        port = free_port()
        stack.enter_context(topology.redis_server(port, folder))
        broker = f"redis://127.0.0.1:{port}/0"
        client = stack.enter_context(Celery(broker=broker))
        workers, files = [], []
        for at in range(n):
            environment = {"PLAIN_BROKER": broker, "PLAIN_QUEUE": f"plain-{at}"}
            if visibility is not None:
                environment["PLAIN_VISIBILITY"] = str(visibility)
            celery = "celery --app tests.faults.plain_celery worker --pool prefork --concurrency 1"
            command = [sys.executable, "-m", *celery.split(), "--without-gossip", "--without-mingle"]
            command += ["--hostname", f"plain{at}@%h"]
            workers.append(Program(f"plain {at}", command, folder / "plain.log", environment))
            files.append(folder / f"starts-{visibility}-{at}")
            client.send_task("plain.work", [str(files[at])], queue=f"plain-{at}")
            workers[at].start()
        stack.callback(topology.end_all, workers)
        topology.wait_until(lambda: all(map(_starts, files)), 120)
        for worker in workers:
            send(worker.tree()[::-1], signal.SIGKILL)
        killed = time.time()
        for worker in workers:
            worker.process.wait()
            worker.start()
        while time.time() < killed + patience and not all(len(_starts(file)) > 1 for file in files):
            time.sleep(0.2)
        return [_starts(file)[1] - killed for file in files if len(_starts(file)) > 1]


def _starts(file: Path) -> list[float]:
    return [float(line) for line in file.read_text().split()] if file.exists() else []


def ours(kind: str, folder: Path, n: int, lease: float, sweep: float) -> list[float]:
    """Seconds from SIGKILL to the job's next run."""
    seconds: list[float] = []
    with topology.running(kind, lease=lease, sweep=sweep, logs=folder / f"{kind}-{lease}") as running:
        clients = Clients(running.urls, running.key, 0, closing=time.monotonic() + 3600)
        (model,) = clients.register(1)
        number = 0
        while len(seconds) < n:
            number += 1
            clients.submit(number, model, None, random.Random(number))
            if (job := _begun(running)) is None:
                continue  # it was over before anybody looked
            worker = next(each for each in running.workers if job.pid in each.tree())
            killed = datetime.now(UTC)
            send(worker.tree()[::-1], signal.SIGKILL)
            worker.process.wait()
            worker.start()
            while not (again := _runs_after(running, job.id, killed)):
                time.sleep(0.2)
            seconds.append((again[0] - killed).total_seconds())
            topology.wait_until(lambda: _idle(running), 60)
            topology.wait_until(lambda: all(each.is_live for each in running.workers), 120)  # one is left the next time
    return seconds


@dataclass(frozen=True)
class _Running:
    id: uuid.UUID
    pid: int


def _begun(running: Topology) -> _Running | None:
    """The job that runs, once it does; `None` when none is left."""
    while True:
        with running.database.read() as session:
            job = session.scalar(select(Job).where(Job.state.not_in(ENDED)))
        if job is None:
            return None
        if job.worker is not None:
            return _Running(job.id, int(job.worker.rpartition("/")[2]))
        time.sleep(0.02)


def _runs_after(running: Topology, job_id: uuid.UUID, then: datetime) -> list[datetime]:
    moves = select(Transition.at).join(DeletionRequest, DeletionRequest.id == Transition.request_id)
    moves = moves.where(DeletionRequest.job_id == job_id, Transition.after == State.RUNNING, Transition.at > then)
    with running.database.read() as session:
        return list(session.scalars(moves.order_by(Transition.id)))


def _idle(running: Topology) -> bool:
    with running.database.read() as session:
        return session.scalar(select(Job.id).where(Job.state.not_in(ENDED))) is None


if __name__ == "__main__":
    main()
