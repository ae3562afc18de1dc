"""docker-compose.yml as plain processes of this machine: its commands and settings, with other addresses."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from service.cli.stack import free_port
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.storage.database import Database
from tests.conftest import new_postgresql_database

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
_BIN = Path(sys.executable).parent


@dataclass
class Topology:
    """What a client and a judge need to know."""

    proxy: str
    replicas: list[str]
    key: str
    logs: Path
    processes: dict[str, "subprocess.Popen[bytes]"]

    def client(self, url: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=url or self.proxy, headers=headers, timeout=60, trust_env=False)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def wait_for(self, condition, *, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not ended, self.log(ended[0])[-3000:]
            assert time.monotonic() < deadline, "\n".join(self.log(name)[-1500:] for name in self.processes)
            time.sleep(0.1)


@contextmanager
def running(folder: Path) -> Iterator[Topology]:
    """All of it but Prometheus and Grafana; the database server is that of the other tests, with an empty database."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("no nginx")
    redis = shutil.which("redis-server") or pytest.skip("no redis-server")
    with ExitStack() as stack:
        topology = Topology("", [], "", folder, {})
        stack.callback(_stop, topology)
        database = stack.enter_context(new_postgresql_database())
        _empty(database)
        broker = free_port()
        here = {
            "STRUCTGUARD_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
            "STRUCTGUARD_BROKER_URL": f"redis://127.0.0.1:{broker}/0",
            "STRUCTGUARD_DATA_DIR": str(folder / "data"),
            "STRUCTGUARD_CELERY_QUEUE": f"test-{uuid.uuid4().hex}",
            "STRUCTGUARD_TRUSTED_PROXIES": "127.0.0.1",
            "STRUCTGUARD_ENCODER": "minilm",  # the other one is on the hub
            "STRUCTGUARD_METRICS_PORT": str(free_port()),
            "TMPDIR": str(folder / "tmp"),
        }
        (folder / "tmp").mkdir()

        def start(name: str, command: list[str], **more: str) -> None:
            environment = os.environ | _settings(name.partition("-")[0]) | here | more
            path = f"{_BIN}:{os.environ['PATH']}"
            with (folder / f"{name}.log").open("wb") as log:
                topology.processes[name] = subprocess.Popen(
                    command, env=environment | {"PATH": path}, cwd=ROOT, stdout=log, stderr=log
                )

        own = ["--port", str(broker), "--bind", "127.0.0.1", "--dir", str(folder)]
        start("redis", [redis, *map(str, SERVICES["redis"]["command"][1:]), *own])
        start("migrate", SERVICES["migrate"]["command"])
        assert topology.processes.pop("migrate").wait(timeout=120) == 0, topology.log("migrate")
        with database.write() as session:
            owner = api_keys.ensure_tenant(session, "acme").id
            _, topology.key = api_keys.create_key(session, owner, name="x", scopes=[Scope.ADMIN], expires_at=None)
        ports = [free_port() for _ in range(SERVICES["service"]["deploy"]["replicas"])]
        for at, port in enumerate(ports):
            start(f"service-{at}", _command("service"), STRUCTGUARD_PORT=str(port), STRUCTGUARD_HOST="127.0.0.1")
        start("worker", _command("worker"))
        topology.replicas = [f"http://127.0.0.1:{port}" for port in ports]
        listen = free_port()
        topology.proxy = f"http://127.0.0.1:{listen}"
        start("proxy", [nginx, "-c", str(_proxy(folder, listen, ports)), "-p", str(folder), "-g", "daemon off;"])
        for url in (*topology.replicas, topology.proxy):
            topology.wait_for(lambda url=url: _is_ready(url))
        yield topology


def _settings(name: str) -> dict[str, str]:
    """What the file sets, without what the addresses and secrets of a test replace."""
    given = SERVICES.get(name, {}).get("environment", {})
    return {
        key: str(value) for key, value in given.items() if key.startswith("STRUCTGUARD_") and "${" not in str(value)
    }


def _command(name: str) -> list[str]:
    """What the image runs."""
    [command] = re.findall("^CMD (.*)$", (ROOT / "docker" / f"{name}.Dockerfile").read_text(), re.MULTILINE)
    return json.loads(command)


def _proxy(folder: Path, listen: int, ports: list[int]) -> Path:
    """The proxy's own configuration, with the addresses of this machine and nothing else changed."""
    text = (ROOT / "docker" / "proxy" / "nginx.conf").read_text()
    replicas = " ".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=5s;" for port in ports)
    for before, after in {
        "server service:8000 resolve max_fails=1 fail_timeout=5s;": replicas,
        "listen 8080;": f"listen 127.0.0.1:{listen};",
        "resolver 127.0.0.11 valid=5s;": "",
        "/tmp/": f"{folder}/proxy-",
        "worker_processes auto;": "worker_processes 1;",
    }.items():
        assert before in text
        text = text.replace(before, after)
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


def _empty(database: Database) -> None:
    """As the one-shot migration finds it at its first start."""
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _stop(topology: Topology) -> None:
    """Clients before servers, as Compose does."""
    for process in reversed(topology.processes.values()):
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
