"""Diagnosing, backing up and restoring an installation, on the machine where it is."""

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
from service.cli.parameters import AsJson, DataFolder, existing_file

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Look for what is wrong with the installation that the environment names, and say how to mend it."""
    from service.cli.doctor import examine  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        findings = []
        for finding in examine(data):
            findings.append(finding)
            output.say(_line(finding.check, finding.outcome, finding.says))
            if finding.mend:
                output.say(f"{'':23}{finding.mend}")
        outcomes = {finding.outcome for finding in findings}
        worst = next((outcome for outcome in ("problem", "warning") if outcome in outcomes), "ok")
        if as_json:
            output.result({"outcome": worst, "findings": [asdict(finding) for finding in findings]})
    if worst == "problem":
        raise typer.Exit(Exit.UNHEALTHY)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, a new file; - is stdout.")],
    *,
    data: DataFolder = None,
    images: Annotated[
        bool, typer.Option(help="Take along the encrypted images of requests that wait, or may be retried.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write an embedded installation to one file, while it runs. The master key is not in it."""
    from service.cli.backup.taking import back_up  # noqa: PLC0415

    output = Output(as_json=as_json)
    if str(file) == "-":
        output.console = console(stderr=True)
    with output.reporting():
        with _new_file(file) as target:
            summary = back_up(stack.settings(data), target, with_images=images)
        if str(file) == "-":
            output.say(*_backup_lines(file, summary))
        else:
            output.result(summary | {"file": str(file)}, *_backup_lines(file, summary))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; - is stdin.")],
    *,
    data: DataFolder = None,
    master_key: Annotated[Path | None, existing_file("The master key of then, to be copied into the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new data folder of a backup. Nothing is there before all of it is, and is right."""
    from service.cli.backup.restoring import restore as put_back  # noqa: PLC0415

    output = Output(as_json=as_json)
    with output.reporting():
        try:
            with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
                summary = put_back(stack.settings(data), source, master_key=master_key)
        except OSError as error:
            raise CommandError("The backup could not be restored. Nothing was changed.", str(error.strerror)) from error
        output.result(summary, *_restore_lines(summary))


@contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A new file, or stdout for `-`. The file appears, durably, only once the block has succeeded."""
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


def _backup_lines(file: Path, summary: dict[str, Any]) -> list[str]:
    lines = [f"{summary['files']} files, {render.mebibytes(summary['bytes'])}, are in {file}."]
    if summary["images"]:
        lines.append(
            f"The images of {summary['images']} requests are among them, encrypted: only the master key opens them."
        )
    if summary["images_left_out"]:
        lines.append(f"The images of {summary['images_left_out']} requests are not: these fail after a restore.")
    lines.append("The master key is not in it. Keep a copy of it elsewhere, and this file where only few can read it.")
    return lines + _faults(summary)


def _restore_lines(summary: dict[str, Any]) -> list[str]:
    lines = [
        f"The installation of {summary['made_at']} is in {summary['data_dir']}.",
        "Start it with `structguard up`.",
    ]
    if summary["waiting"]:
        lines.append(f"{summary['waiting']} requests wait, and go on then.")
    if summary["sealed"] and not summary["has_master_key"]:
        lines.append("But first put the master key of then there, as master.key: without it, they fail.")
    return lines + _faults(summary)


def _faults(summary: dict[str, Any]) -> list[str]:
    """What was wrong with the installation when the backup was made."""
    faults = [f"Missing when the backup was made: {name}" for name in summary["missing"]]
    return faults + [f"Altered when the backup was made: {name}" for name in summary["altered"]]


def _line(check: str, outcome: str, says: str) -> Text:
    return Text.assemble((f"{outcome:9}", _STYLES[outcome]), (f"{check:14}", "bold"), says)
