"""What goes wrong, and when: drawn from a seeded generator."""

import contextlib
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from tests.faults.topology import Program, Topology, descendants, send
from tests.faults.watch import held


@dataclass(frozen=True)
class Fault:
    """Something that was done, from when to when."""

    kind: str
    began: datetime
    ended: datetime


@dataclass(frozen=True)
class Hit:
    """A job whose process was killed, and when."""

    kind: str
    requests: list[uuid.UUID]  # that it served
    at: datetime


@dataclass
class Injuries:
    """Does one thing after the other to a running topology, several at a time."""

    topology: Topology
    rng: random.Random
    lease: float
    every: float  # seconds between two, on average
    until: float  # on the monotonic clock: what has begun by then may end in peace
    done: list[Fault] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)

    def kinds(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """What can happen here, and how often compared to the others."""
        kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "SIGKILL of an API process": (3, self._kill_api),
            "SIGKILL of a worker and all below it": (3, self._kill_worker),
            "SIGKILL of a worker's main process": (2, self._kill_main),
            "SIGKILL of a job's process": (4, self._kill_child),
            "worker frozen for longer than its lease": (1, self._freeze),
            "connections to the API reset": (3, lambda: self._wire("http").cut(self.rng, 0.5)),
            "API unreachable for 2 s": (1, lambda: self._wire("http").hold(2)),
        }
        if self.topology.has_own_disk:
            kinds["disk of the artifact store full for 2 s"] = (1, self._fill_disk)
        if self.topology.postgresql is not None:
            kinds |= {
                "SIGKILL of Celery's pool process": (2, self._kill_pool),
                "PostgreSQL stopped (immediate) and started": (1, self._restart_postgresql),
                "SIGKILL of Redis, started after 1 s": (2, self._restart_redis),
                "connections to PostgreSQL reset": (3, lambda: self._wire("postgresql").cut(self.rng, 0.5)),
                "PostgreSQL unreachable for a lease": (1, lambda: self._wire("postgresql").hold(self.lease)),
                "connections to Redis reset": (2, lambda: self._wire("redis").cut(self.rng, 0.5)),
                "Redis unreachable for 3 s": (1, lambda: self._wire("redis").hold(3)),
            }
        return kinds

    def inflict(self, stopping: threading.Event) -> None:
        """Go on until told to stop, and then mend everything."""
        kinds = self.kinds()
        names = list(kinds)
        weights = [kinds[name][0] for name in names]
        busy: dict[str, threading.Lock] = {name: threading.Lock() for name in names}

        def once(name: str) -> None:
            if not busy[name].acquire(blocking=False):
                return  # the last one of its kind is not over
            try:
                began = datetime.now(UTC)
                kinds[name][1]()
                self.done.append(Fault(name, began, datetime.now(UTC)))
            finally:
                busy[name].release()

        with ThreadPoolExecutor() as pool:
            running = []
            while not stopping.wait(self.rng.expovariate(1 / self.every)) and time.monotonic() < self.until:
                running.append(pool.submit(once, self.rng.choices(names, weights)[0]))
        for each in running:
            each.result()

    def _kill_api(self) -> None:
        send([self.rng.choice(self.topology.apis).pid], signal.SIGKILL)

    def _kill_worker(self) -> None:
        worker = self._someone()
        self._strike("worker and all below", worker, worker.tree())

    def _kill_main(self) -> None:
        worker = self._someone()
        self._strike("worker's main process", worker, [worker.pid])

    def _kill_pool(self) -> None:
        worker = self._someone()
        self._strike("pool's process", worker, descendants(worker.pid)[:1])

    def _kill_child(self) -> None:
        worker = self._someone()
        self._strike("job's process", worker, [child for child in descendants(worker.pid) if _is_job(child)])

    def _freeze(self) -> None:
        worker = self._someone()
        tree = worker.tree()
        worker.is_frozen = True
        self._strike("worker frozen", worker, tree, how=signal.SIGSTOP)
        time.sleep(self.lease + 1)
        send(tree, signal.SIGCONT)
        worker.is_frozen = False

    def _fill_disk(self) -> None:
        ballast = self.topology.data / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(2)
        ballast.unlink()

    def _restart_postgresql(self) -> None:
        assert self.topology.postgresql is not None
        self.topology.postgresql.end(signal.SIGQUIT)
        self.topology.postgresql.start()

    def _restart_redis(self) -> None:
        assert self.topology.redis is not None
        self.topology.redis.end(signal.SIGKILL)
        time.sleep(1)
        self.topology.redis.start()

    def _someone(self) -> Program:
        """A worker, rather one that has a job."""
        with contextlib.suppress(SQLAlchemyError), self.topology.database.read() as session:
            pids = held(session).keys()
            busy = [worker for worker in self.topology.workers if not pids.isdisjoint(worker.tree())]
            if busy:
                return self.rng.choice(busy)
        return self.rng.choice(self.topology.workers)

    def _wire(self, name: str):
        return self.topology.wires[self.rng.choice([each for each in self.topology.wires if each.startswith(name)])]

    def _strike(self, kind: str, worker: Program, pids: list[int], how: signal.Signals = signal.SIGKILL) -> None:
        """Send the signal, and note the requests whose job the worker runs."""
        tree = worker.tree()
        requests: list[uuid.UUID] = []
        with contextlib.suppress(SQLAlchemyError), self.topology.database.read() as session:
            requests = [each for pid, ids in held(session).items() if pid in tree for each in ids]
        at = datetime.now(UTC)
        send(pids, how)
        if requests and pids:
            self.hits.append(Hit(kind, requests, at))


def _is_job(pid: int) -> bool:
    """Has it been forked by a nursery?"""
    with contextlib.suppress(OSError):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return b"tests.faults.nursery" in Path(f"/proc/{parent}/cmdline").read_bytes()
    return False
