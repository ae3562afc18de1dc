"""Running the service on this machine."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from service.cli import stack
from service.cli.client import API_KEY
from service.cli.demo import demonstrate
from service.cli.exits import CommandError, Exit
from service.cli.output import Output
from service.cli.parameters import AsJson, DataFolder
from service.cli.processes import Stopped
from service.cli.stack import Stack, free_port
from service.registry.settings import RegistrySettings

_PREFIX = "STRUCTGUARD_"


def up(
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything. [default: STRUCTGUARD_DATA_DIR]")
    ] = None,
    port: Annotated[int, typer.Option(envvar="STRUCTGUARD_PORT", min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(envvar="STRUCTGUARD_HOST", help="Address to listen on.")] = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Run the service and one worker until Ctrl-C. Everything else is configured by STRUCTGUARD_* variables."""
    output = Output(as_json=as_json)
    with output.reporting():
        settings = stack.settings(data)
        try:
            stack.migrate(settings)
            key = stack.first_key(settings)
            with stack.running(settings.data_dir.resolve(), host, port, os.environ) as started:
                output.result(_addresses(started) | {"api_key": key}, *_welcome(started, key))
                started.watch()
        except Stopped:
            output.say("Stopped.")


def migrate(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Bring the database up to this version of the program, as `up` does by itself."""
    output = Output(as_json=as_json)
    with output.reporting():
        stack.migrate(stack.settings(data))
        output.result({"migrated": True}, "The database is up to date.")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running until Ctrl-C.")] = False,
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="A new or empty folder. [default: a temporary one]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a small classifier, have it forget 16 images over HTTP, and show what that did to it."""
    output = Output(as_json=as_json)
    with output.reporting():
        folder = _empty(data)
        # Settings of this shell are for another service: a demo that wrote to that one's database would be a mishap.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
        try:
            settings = RegistrySettings.model_construct(data_dir=folder)
            stack.migrate(settings)
            key = stack.first_key(settings)
            assert key is not None  # the folder is new
            with stack.running(folder, "127.0.0.1", free_port(), environment) as started:
                passed = demonstrate(output, started, environment, key, keep=keep)
                if keep:
                    output.say("", "Running until Ctrl-C.")
                    started.watch()
        except Stopped:
            output.say("Stopped.")
            raise typer.Exit(Exit.OK if keep else Exit.UNEXPECTED) from None
    if not passed:
        raise typer.Exit(Exit.UNEXPECTED)


def _empty(data: Path | None) -> Path:
    if data is None:
        return Path(tempfile.mkdtemp(prefix="structguard-demo-"))
    if data.exists() and any(data.iterdir()):
        raise CommandError(f"{data} is not empty.", "Name a new folder with --data.")
    data.mkdir(parents=True, exist_ok=True)
    return data.resolve()


def _addresses(running: Stack) -> dict[str, object]:
    return {
        "server": running.server,
        "dashboard": f"{running.server}/dashboard/",
        "data_dir": str(running.data_dir),
        "logs": {name: str(path) for name, path in running.logs.items()},
    }


def _welcome(running: Stack, key: str | None) -> list[str]:
    api_key_lines = ["An API key that may do everything, shown this once:", f"  export {API_KEY}={key}"]
    logs = (f"Log of the {name}: {path}" for name, path in running.logs.items())
    return [
        f"Listening on {running.server}; its API is described at {running.server}/docs",
        f"Dashboard: {running.server}/dashboard/",
        f"Data: {running.data_dir}",
        *logs,
        *(api_key_lines if key else []),
        "Ctrl-C stops it.",
    ]
