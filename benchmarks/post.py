"""How fast a deletion request is accepted, beside a floor that does the same INSERTs and nothing else.

`python -m benchmarks.post` runs both as processes, in turn, on SQLite and on PostgreSQL, and prints one table for each.
Every answer comes after a durable commit; the service has made the images durable before that. `of the floor` is the
quotient of the requests per second of one round; CPU is that of the answering process, which depends less on what else
the machine does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import psycopg
from psycopg import sql

from benchmarks.post_load import Load, body, burst, request
from service.cli.stack import free_port
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.models import models, versions
from service.registry.models.quality_gate import Policy
from service.registry.storage import schema
from service.registry.storage.database import Database

_CLASSES = [f"class {at}" for at in range(10)]


@dataclass
class Subject:
    """A server that accepts deletion requests, and its measurements so far."""

    name: str
    port: int
    process: int
    headers: dict[str, str]
    with_key: bool = False  # whether each request has an `Idempotency-Key` of its own
    loads: list[Load] = field(default_factory=list)
    cpu: float = 0.0  # seconds, of the process

    def accept(self, bodies: list[bytes], connections: int) -> tuple[Load, float]:
        """Send these bodies; the load, and the CPU seconds of the server."""
        requests = [
            request(body, self.headers | ({"Idempotency-Key": uuid.uuid4().hex} if self.with_key else {}))
            for body in bodies
        ]
        before = cpu_seconds(self.process)
        load = burst(self.port, requests, connections=connections)
        return load, cpu_seconds(self.process) - before


def prepare(database: Database) -> str:
    """Create the tables, a model with a version, and an API key; the key's secret."""
    schema.upgrade(database)
    with database.write() as session:
        tenant = api_keys.ensure_tenant(session, "default")
        model = models.register_model(
            session, tenant.id, name="bench", description="", policy=Policy(), approval_required=False
        )
        versions.register_version(
            session,
            model,
            parent=None,
            architecture={"name": "cifar_resnet8"},
            classes=_CLASSES,
            preprocessing={},
            attributes={},
            checkpoint="",
            sha256="",
            size=0,
            code_version="",
            gate=None,
        )
        return api_keys.create_key(session, tenant.id, name="bench", scopes=[Scope.ADMIN], expires_at=None)[1]


@contextmanager
def serving(*command: str, port: int, environment: dict[str, str]) -> Iterator[int]:
    """The identifier of a process that answers HTTP on `port`."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=os.environ | environment, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                assert process.poll() is None, command
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(process: int) -> float:
    """CPU seconds that a process has used, in all its threads."""
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


@contextmanager
def new_postgresql(server: str) -> Iterator[str]:
    """The URL of a new database, which is dropped when the block ends."""
    name = f"structguard_post_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield server.replace("postgresql:", "postgresql+psycopg:").rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def measure(kind: str, open_database: Callable[[ExitStack, Path], str], arguments: argparse.Namespace) -> None:
    """Print the table of one kind of database."""
    with ExitStack() as stack:
        subjects = []
        for name, command in (("floor", "benchmarks.post_floor"), ("service", "service")):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="structguard-post-")))
            address = open_database(stack, folder)
            database = Database(address)
            key = prepare(database)
            database.close()
            port = free_port()
            environment = {
                "STRUCTGUARD_DATA_DIR": str(folder),
                "STRUCTGUARD_DATABASE_URL": address,
                "STRUCTGUARD_PORT": str(port),
                "STRUCTGUARD_RATE_LIMIT": "1000000000",  # counted, and never reached
            }
            server_arguments = (address, str(port)) if name == "floor" else ()
            process = stack.enter_context(serving(command, *server_arguments, port=port, environment=environment))
            bearer = {"Authorization": f"Bearer {key}"}
            subjects.append(Subject(name, port, process, bearer))
            if name == "service":
                subjects.append(Subject("service, Idempotency-Key", port, process, bearer, with_key=True))
        metadata = {"model": "bench", "labels": [1] * arguments.images, "options": {"scope": "exact"}}
        for turn in range(-1, arguments.rounds):
            for subject in subjects:
                bodies = [body(metadata, arguments.images, arguments.size) for _ in range(arguments.requests)]
                load, cpu = subject.accept(bodies, arguments.connections)
                if turn >= 0:  # the first warms up
                    subject.loads.append(load)
                    subject.cpu += cpu
    report(kind, subjects, arguments)


def report(kind: str, subjects: list[Subject], arguments: argparse.Namespace) -> None:
    """Print the table of the subjects, as Markdown."""
    images = f"{arguments.images} PNG of {arguments.size}×{arguments.size}"
    print(f"\n{kind}, {arguments.connections} connection(s), {images}, ", end="")
    print(f"{arguments.rounds} rounds of {arguments.requests} requests\n")
    print("| | p50 ms | p99 ms | CPU ms | requests/s | of the floor |\n|---|---|---|---|---|---|")
    floor = [load.rate for load in subjects[0].loads]
    count = arguments.rounds * arguments.requests
    for subject in subjects:
        seconds = sorted(second for load in subject.loads for second in load.seconds)
        rates = [load.rate for load in subject.loads]
        ratios = [rate / floor_rate for rate, floor_rate in zip(rates, floor, strict=True)]
        p50, p99 = (1000 * seconds[int(share * len(seconds))] for share in (0.5, 0.99))
        cpu = 1000 * subject.cpu / count
        print(f"| {subject.name} | {p50:.1f} | {p99:.1f} | {cpu:.1f} | {spread(rates, 0)} | {spread(ratios, 2)} |")


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.post", description=__doc__)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432/postgres", help="a server's URL")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=200, help="in each round, to each subject")
    parser.add_argument("--connections", type=int, default=1, help="at once")
    parser.add_argument("--images", type=int, default=1, help="in each request")
    parser.add_argument("--size", type=int, default=32, help="of an image's sides, in pixels")
    arguments = parser.parse_args()
    if arguments.only != "postgresql":
        measure("SQLite", lambda _, folder: f"sqlite:///{folder}/registry.sqlite", arguments)
    if arguments.only != "sqlite":
        measure("PostgreSQL", lambda stack, _: stack.enter_context(new_postgresql(arguments.postgresql)), arguments)


if __name__ == "__main__":
    main()
