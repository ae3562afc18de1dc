"""The product as an operator runs it, two of everything, with servers of its own that may be killed."""

import contextlib
import grp
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import redis

from service.cli.stack import free_port
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.faults.proxy import Wire

_POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)
_STORE = "size=1g"  # of the file system that the artifact store gets for itself


@dataclass
class Program:
    """A process that is started again whenever it has ended, by an orchestrator."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    process: "subprocess.Popen[bytes] | None" = None
    is_frozen: bool = False
    _log_from: int = 0  # what the present process has written begins there

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._log_from, self.is_frozen = log.tell(), False
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.user and grp.getgrnam(self.user).gr_gid,
                cwd="/" if self.user else None,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_live(self) -> bool:
        """It has said that it is ready, and is neither dead nor frozen."""
        if self.process is None or self.process.poll() is not None or self.is_frozen:
            return False
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return b" ready" in log.read(1 << 14)

    def tree(self) -> list[int]:
        """The process and everything below it."""
        return [self.pid, *descendants(self.pid)]

    def end(self, how: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """The processes below this one, nearest first."""
    found = []
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def send(pids: list[int], how: signal.Signals) -> None:
    """A signal to all of them that still are."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


@dataclass
class Topology:
    """Running programs, the wires between them, and what a client and a judge need to know."""

    data: Path
    has_own_disk: bool
    database: Database
    key: str
    apis: list[Program]
    workers: list[Program]
    wires: dict[str, Wire]  # "http 0", "http 1", "postgresql", "redis"
    postgresql: Program | None = None
    redis: Program | None = None
    start_seconds: float = 0.0  # of a worker, from its process to its readiness

    @property
    def is_cut_off(self) -> bool:
        """Nobody hears anything of the database."""
        return "postgresql" in self.wires and self.wires["postgresql"].is_held

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{wire.port}" for name, wire in self.wires.items() if name.startswith("http")]

    def watch(self, stopping: threading.Event) -> None:
        """Start again what has ended, as an orchestrator does."""
        while not stopping.wait(0.1):
            for program in (*self.apis, *self.workers):
                if program.process is not None and program.process.poll() is not None:
                    program.start()


@contextlib.contextmanager
def running(kind: str, *, lease: float, sweep: float, logs: Path, workers: int = 2) -> Iterator[Topology]:
    """All of it: with PostgreSQL, Redis and Celery, or with SQLite and workers that poll."""
    with contextlib.ExitStack() as stack:
        logs.mkdir(parents=True, exist_ok=True)
        data, has_own_disk = stack.enter_context(_disk())
        environment = {
            "STRUCTGUARD_DATA_DIR": str(data),
            "STRUCTGUARD_LEASE": f"PT{lease}S",
            "STRUCTGUARD_SWEEP_INTERVAL": f"PT{sweep}S",
            "STRUCTGUARD_POLL_INTERVAL": "PT0.2S",
        }
        wires: dict[str, Wire] = {}
        servers: list[Program | None] = [None, None]
        direct = f"sqlite:///{data / 'registry.sqlite'}"
        if kind == "postgresql":
            port = free_port()
            broker = free_port()
            servers = [stack.enter_context(_postgresql(port, logs)), stack.enter_context(redis_server(broker, logs))]
            wires |= {"postgresql": stack.enter_context(_wire(port)), "redis": stack.enter_context(_wire(broker))}
            direct = f"postgresql+psycopg://structguard@127.0.0.1:{port}/postgres"
            environment |= {
                "STRUCTGUARD_DATABASE_URL": direct.replace(f":{port}/", f":{wires['postgresql'].port}/"),
                "STRUCTGUARD_BROKER_URL": f"redis://127.0.0.1:{wires['redis'].port}/0",
            }
        database = Database(direct)
        stack.callback(database.close)
        schema.upgrade(database)
        with database.write() as session:
            tenant = api_keys.ensure_tenant(session, "acme")
            _, key = api_keys.create_key(session, tenant.id, name="faults", scopes=[Scope.ADMIN], expires_at=None)

        apis = []
        for at in range(2):
            port = free_port()
            own = environment | {"STRUCTGUARD_PORT": str(port)}
            apis.append(Program(f"api {at}", [sys.executable, "-m", "service"], logs / f"api-{at}.log", own))
            wires[f"http {at}"] = stack.enter_context(_wire(port))
        programs = [
            Program(f"worker {at}", _worker(kind, at), logs / f"worker-{at}.log", environment) for at in range(workers)
        ]
        topology = Topology(data, has_own_disk, database, key, apis, programs, wires, *servers)
        stack.callback(end_all, [*apis, *programs])
        for program in (*apis, *programs):
            program.start()
        began = time.monotonic()
        wait_until(lambda: all(worker.is_live for worker in programs), 600)
        topology.start_seconds = time.monotonic() - began
        wait_until(lambda: all(_is_ready(url) for url in topology.urls), 600)
        yield topology


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    return False


def _worker(kind: str, at: int) -> list[str]:
    if kind == "sqlite":
        return [sys.executable, "-m", "tests.faults.worker"]
    celery = "celery --app tests.faults.worker worker --pool prefork --concurrency 1 --loglevel info"
    alone = ["--without-gossip", "--without-mingle", "--hostname", f"worker{at}@%h"]
    return [sys.executable, "-m", *celery.split(), *alone]


def end_all(programs: list[Program]) -> None:
    """End them with everything below them, at once."""
    for program in programs:
        if program.process is not None:
            send(program.tree()[::-1], signal.SIGKILL)
            program.process.wait()


@contextlib.contextmanager
def _disk() -> Iterator[tuple[Path, bool]]:
    """A folder, and whether it is a file system of its own, which can be filled without harm to others."""
    folder = Path(tempfile.mkdtemp(prefix="structguard-faults-"))
    mount = ["mount", "-t", "tmpfs", "-o", _STORE, "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        print("the artifact store has no disk of its own, which takes root: it is not filled")
    try:
        yield folder, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _wire(target: int) -> Iterator[Wire]:
    wire = Wire(target)
    try:
        yield wire
    finally:
        wire.close()


@contextlib.contextmanager
def _postgresql(port: int, logs: Path) -> Iterator[Program]:
    if _POSTGRES is None:
        raise SystemExit("there is no PostgreSQL to start here; --database sqlite needs none")
    folder = Path(tempfile.mkdtemp(prefix="structguard-faults-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        shutil.chown(folder, user, user)
    initdb = [str(_POSTGRES.with_name("initdb")), "--auth=trust", "--username=structguard", "-D", str(folder / "data")]
    group = user and grp.getgrnam(user).gr_gid
    subprocess.run(initdb, check=True, capture_output=True, user=user, group=group, cwd="/")
    command = [str(_POSTGRES), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    program = Program("postgresql", [*command, "-c", "listen_addresses=127.0.0.1"], logs / "postgresql.log", user=user)
    program.start()
    try:
        wait_for_postgresql(port)
        yield program
    finally:
        program.end(signal.SIGQUIT)
        shutil.rmtree(folder)


def wait_for_postgresql(port: int) -> None:
    """Return once it takes connections."""

    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, user="structguard", dbname="postgres").close()
            return True
        return False

    wait_until(answers, 60)


@contextlib.contextmanager
def redis_server(port: int, logs: Path) -> Iterator[Program]:
    """A Redis that writes everything down."""
    with tempfile.TemporaryDirectory(prefix="structguard-faults-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        program = Program("redis", [*command, "--appendonly", "yes"], logs / "redis.log")
        program.start()

        def answers() -> bool:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
                return bool(client.ping())
            return False

        try:
            wait_until(answers, 30)
            yield program
        finally:
            program.end(signal.SIGKILL)


def wait_until(condition, seconds: float) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
