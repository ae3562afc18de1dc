"""The embedded stack: the HTTP service and one worker as children of this process."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx
from pydantic import ValidationError

from service.cli.exits import CommandError
from service.cli.processes import ended, signals, start, stop, tail
from service.registry.access.scopes import DEFAULT_TENANT, Scope
from service.registry.settings import RegistrySettings

NAME_THE_FOLDER = "Name the service's data folder with --data or STRUCTGUARD_DATA_DIR."

_READY_WITHIN = 60.0  # seconds; it takes about two


@dataclass(frozen=True)
class Stack:
    """Two running processes, where they listen and where they write."""

    server: str
    data_dir: Path
    processes: dict[str, "subprocess.Popen[bytes]"]
    logs: dict[str, Path]
    start_seconds: float  # from the start of the service's process to its first ready answer

    def watch(self) -> NoReturn:
        """Wait for a signal, or for a process to end.

        Raises:
            CommandError: a process ended by itself.
        """
        while True:
            self.check()
            time.sleep(0.2)

    def check(self) -> None:
        """Raise `CommandError` if a process has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ended(name, process, self.logs[name])


@contextmanager
def running(data_dir: Path, host: str, port: int, environment: Mapping[str, str]) -> Iterator[Stack]:
    """Run the service and a worker on a migrated database until the block ends; they inherit `environment`.

    Raises:
        CommandError: the port is taken, or a process does not start.
    """
    _check_port(host, port)
    logs = {name: data_dir / "logs" / f"{name}.log" for name in ("service", "worker")}
    logs["service"].parent.mkdir(parents=True, exist_ok=True)
    child_environment = {
        **environment,
        "STRUCTGUARD_DATA_DIR": str(data_dir),
        "STRUCTGUARD_HOST": host,
        "STRUCTGUARD_PORT": str(port),
        "PYTHONSAFEPATH": "1",  # a folder `worker` in the current directory must not be imported
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with signals():
        try:
            began = time.monotonic()
            processes["service"] = start("service", child_environment, logs["service"])
            server = url(host, port)
            wait_until_ready(server, processes["service"], logs["service"])
            seconds = time.monotonic() - began
            processes["worker"] = start("worker", child_environment, logs["worker"])
            yield Stack(server, data_dir, processes, logs, seconds)
        finally:
            stop(list(processes.values()))


def settings(data_dir: Path | None) -> RegistrySettings:
    """The settings of the environment, with this data folder if one is given.

    Raises:
        CommandError: a variable has an invalid value.
    """
    try:
        return RegistrySettings() if data_dir is None else RegistrySettings(data_dir=data_dir)
    except ValidationError as error:
        variables = ", ".join(f"STRUCTGUARD_{item['loc'][0]}".upper() for item in error.errors())
        raise CommandError(f"The environment is not right: {variables}.") from error


def existing(data_dir: Path | None) -> RegistrySettings:
    """The settings, for a command that works on an installation and makes none.

    Raises:
        CommandError: as `settings`; or they name a SQLite file that is not there, and which connecting would create.
    """
    from sqlalchemy import make_url  # noqa: PLC0415

    installation = settings(data_dir)
    address = make_url(installation.resolved_database_url())
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        raise CommandError(
            f"There is no database {address.database}.", f"{NAME_THE_FOLDER} `structguard migrate` makes a new one."
        )
    return installation


def migrate(settings: RegistrySettings) -> None:
    """Bring the database up to this code; it is created if there is none.

    Raises:
        CommandError: the database cannot be reached or changed.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from service.registry.storage.database import Database  # noqa: PLC0415
    from service.registry.storage.schema import upgrade  # noqa: PLC0415

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        database = Database(settings.resolved_database_url())
        upgrade(database)
        database.close()
    except SQLAlchemyError as error:
        raise CommandError("The database cannot be prepared.", str(getattr(error, "orig", error))) from error


def first_key(settings: RegistrySettings) -> str | None:
    """Create an API key with the scope admin and return its secret; None if the database has a key already."""
    from service.registry.access import api_keys  # noqa: PLC0415
    from service.registry.storage.database import Database  # noqa: PLC0415

    database = Database.of(settings)
    try:
        with database.write() as session:
            if api_keys.has_keys(session):
                return None
            tenant = api_keys.ensure_tenant(session, DEFAULT_TENANT)
            _, secret = api_keys.create_key(session, tenant.id, name="first", scopes=[Scope.ADMIN], expires_at=None)
            return secret
    finally:
        database.close()


def url(host: str, port: int) -> str:
    """The URL at which a client on this machine reaches a server that listens on `host` and `port`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not listened on)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(f"Cannot listen on {host}, port {port}: {reason}.", "Choose another with --port.") from error


def wait_until_ready(server: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until `/readyz` succeeds.

    Raises:
        CommandError: the process ended, or took longer than `_READY_WITHIN`.
    """
    deadline = time.monotonic() + _READY_WITHIN
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ended("service", process, log)
            try:
                if http.get(f"{server}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            time.sleep(0.05)
    raise CommandError(f"The service was not ready within {_READY_WITHIN:.0f} seconds.", tail(log))
