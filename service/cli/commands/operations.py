"""Looking after an installation, on the machine where it is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.text import Text

from service.cli import render, stack
from service.cli.exits import CommandError, Exit
from service.cli.output import Output, console
from service.cli.parameters import AsJson, existing_file

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}

Data = Annotated[Path | None, typer.Option(file_okay=False, help="The data folder. [default: STRUCTGUARD_DATA_DIR]")]


def doctor(*, data: Data = None, as_json: AsJson = False) -> None:
    """Look for what is wrong with the installation that the environment names, and say how to mend it."""
    from service.cli.doctor import examine  # noqa: PLC0415  (as in `service.cli.stack`)

    output = Output(as_json=as_json)
    with output.reporting():
        found = []
        for finding in examine(data):
            found.append(finding)
            output.say(_line(finding.check, finding.outcome, finding.says))
            if finding.mend:
                output.say(f"{'':23}{finding.mend}")
        worst = next((one for one in ("problem", "warning") if any(it.outcome == one for it in found)), "ok")
        if as_json:
            output.result({"outcome": worst, "findings": [asdict(finding) for finding in found]})
    if worst == "problem":
        raise typer.Exit(Exit.UNHEALTHY)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, a new file; - is stdout.")],
    *,
    data: Data = None,
    images: Annotated[
        bool, typer.Option(help="Take along the sealed images of requests that wait, or may be retried.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write an embedded installation to one file, while it runs. The master key is not in it."""
    from service.cli.backup.taking import back_up  # noqa: PLC0415

    output = Output(as_json=as_json)
    if str(file) == "-":
        output.console = console(stderr=True)
    with output.reporting():
        with _new(file) as target:
            told = back_up(stack.settings(data), target, with_images=images)
        if str(file) == "-":
            output.say(*_backed_up(file, told))
        else:
            output.result(told | {"file": str(file)}, *_backed_up(file, told))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; - is stdin.")],
    *,
    data: Data = None,
    master_key: Annotated[Path | None, existing_file("The master key of then, to be copied into the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new data folder of a backup. Nothing is there before all of it is, and is right."""
    from service.cli.backup.restoring import restore as put_back  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        try:
            with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
                told = put_back(stack.settings(data), source, master_key=master_key)
        except OSError as error:
            raise CommandError("The backup could not be restored. Nothing was changed.", str(error.strerror)) from error
        output.result(told, *_restored(told))


@contextmanager
def _new(file: Path) -> Iterator[BinaryIO]:
    """A file that is there, durably, once the block has succeeded, and not before; or stdout."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    if file.exists():
        raise CommandError(f"{file} is there already.", "Name a new file.")
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        draft.rename(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written.", str(error.strerror)) from error
    finally:
        draft.unlink(missing_ok=True)


def _backed_up(file: Path, told: dict[str, Any]) -> list[str]:
    said = [f"{told['files']} files, {render.mebibytes(told['bytes'])}, are in {file}."]
    if told["images"]:
        said.append(f"The images of {told['images']} requests are among them, sealed: only the master key opens them.")
    if told["images_left_out"]:
        said.append(f"The images of {told['images_left_out']} requests are not: these fail after a restore.")
    said.append("The master key is not in it. Keep a copy of it elsewhere, and this file where only few can read it.")
    return said + _faults(told)


def _restored(told: dict[str, Any]) -> list[str]:
    said = [f"The installation of {told['made_at']} is in {told['data_dir']}.", "Start it with `structguard up`."]
    if told["waiting"]:
        said.append(f"{told['waiting']} requests wait, and go on then.")
    if told["sealed"] and not told["has_master_key"]:
        said.append("But first put the master key of then there, as master.key: without it, they fail.")
    return said + _faults(told)


def _faults(told: dict[str, Any]) -> list[str]:
    """What was wrong with the installation when the backup was made."""
    faults = [f"Missing when the backup was made: {name}" for name in told["missing"]]
    return faults + [f"Altered when the backup was made: {name}" for name in told["altered"]]


def _line(check: str, outcome: str, says: str) -> Text:
    return Text.assemble((f"{outcome:9}", _STYLES[outcome]), (f"{check:14}", "bold"), says)
