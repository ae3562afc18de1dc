"""The product as its users run it: real processes, real HTTP, real databases and a real broker."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.conftest import REDIS, connected_redis, new_postgresql_database

ENDED = {"completed", "needs_review", "failed", "rejected", "cancelled"}


@dataclass
class Stack:
    """A running service with its worker."""

    url: str
    data: Path
    environment: dict[str, str]
    key: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str) -> None:
        with (self.data / f"{len(self.processes)}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command], env=os.environ | self.environment, stdout=log, stderr=log
                )
            )

    def start_worker(self) -> None:
        if "STRUCTGUARD_BROKER_URL" in self.environment:
            self.start("celery", "--app", "worker.app", "worker", "--pool", "prefork", "--concurrency", "1")
        else:
            self.start("worker")

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.wait()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.data.glob("*.log")))

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200, seconds=120)

    def wait_for(self, condition, *, seconds: float, every: float = 0.1) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if condition():
                    return
            assert all(process.poll() is None for process in self.processes), self.logs()[-5000:]
            time.sleep(every)
        raise AssertionError(f"it did not happen within {seconds} s\n{self.logs()[-5000:]}")

    def finish(self, client: httpx.Client, request: str, *, seconds: float = 540) -> dict:
        """Wait until a deletion request has ended; what it looks like then."""
        seen: dict = {}

        def ended() -> bool:
            seen.update(client.get(request).json())
            return seen["state"] in ENDED

        self.wait_for(ended, seconds=seconds, every=0.3)
        return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(data: Path, database: Database, **environment: str) -> Iterator[Stack]:
    """The service, without a worker yet."""
    with database.write() as session:
        owner = api_keys.ensure_tenant(session, "acme").id
        _, key = api_keys.create_key(session, owner, name="tests", scopes=[Scope.ADMIN], expires_at=None)
    port = free_port()
    environment |= {"STRUCTGUARD_DATA_DIR": str(data), "STRUCTGUARD_PORT": str(port)}
    stack = Stack(f"http://127.0.0.1:{port}", data, environment, key)
    try:
        stack.start("service")
        stack.wait_until_ready()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """SQLite, a local folder, and the worker that polls."""
    with on_sqlite(tmp_path_factory.mktemp("embedded")) as stack:
        yield stack


@contextlib.contextmanager
def on_sqlite(data: Path) -> Iterator[Stack]:
    """The service in this folder, and the worker that polls."""
    database = Database(f"sqlite:///{data / 'registry.sqlite'}")
    schema.upgrade(database)
    with running(data, database) as stack:
        stack.start_worker()
        yield stack
    database.close()


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Redis, and a Celery worker."""
    data = tmp_path_factory.mktemp("production")
    with distributed() as (database, environment), running(data, database, **environment) as stack:
        stack.start_worker()
        yield stack


@contextlib.contextmanager
def distributed() -> Iterator[tuple[Database, dict[str, str]]]:
    """A PostgreSQL database and a queue in Redis, and the settings that name them."""
    queue = f"test-{uuid.uuid4().hex}"
    with new_postgresql_database() as database, connected_redis() as broker:
        yield (
            database,
            {
                "STRUCTGUARD_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
                "STRUCTGUARD_BROKER_URL": REDIS,
                "STRUCTGUARD_CELERY_QUEUE": queue,
            },
        )
        broker.delete(queue)


@pytest.fixture(params=["embedded", "production"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """The same product in both its topologies."""
    return request.getfixturevalue(request.param)


@dataclass(frozen=True)
class Digits:
    """A trained classifier of handwritten digits, and images of it."""

    folder: Path
    card: dict  # architecture, classes and preprocessing, as a version is registered
    forget: list[Path]
    labels: list[int]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, "-m", "worker.digits", str(folder)], check=True, capture_output=True)
    forget = sorted((folder / "forget").glob("*.png"))
    labels = json.loads((folder / "forget" / "labels.json").read_text())
    return Digits(folder, json.loads((folder / "model.json").read_text()), forget, labels)
