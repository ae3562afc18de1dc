"""Models of other programs: the worker's processes turn them into what is registered, and back."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.cli.exits import CommandError
from service.cli.processes import run

_MODULE = "worker.exchange"


@contextmanager
def imported(source: str, checkpoint: Path | None) -> Iterator[tuple[dict[str, Any], Path]]:
    """What a source says of its model, as far as a new version's metadata goes, and its weights as safetensors.

    Raises:
        CommandError: there is nothing of this name, or nothing that we know.
    """
    with tempfile.TemporaryDirectory() as work:
        weights = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        run(_MODULE, "import", source, work, *weights, failure=f"{source} cannot be imported.")
        yield json.loads(Path(work, "model.json").read_text()), Path(work, "model.safetensors")


@contextmanager
def as_safetensors(checkpoint: Path) -> Iterator[Path]:
    """The checkpoint, converted if its name says that it is pickled."""
    if checkpoint.suffix not in {".bin", ".ckpt", ".pkl", ".pt", ".pth", ".tar", ".th"}:
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as work:
        target = Path(work, "model.safetensors")
        convert(checkpoint, target)
        yield target


def convert(source: Path, target: Path) -> str:
    """Turn a pickled state dict into safetensors, in a process that can do little else; what it has to say.

    Raises:
        CommandError: it holds something else.
    """
    return run(
        "worker.exchange.convert", str(source), str(target), failure=f"{source} cannot be converted.", environment={}
    )


def export(version: dict[str, Any], checkpoint: Path, folder: Path) -> None:
    """Write a version as a folder of the Hugging Face hub's form; it appears when it is complete.

    Raises:
        CommandError: there is something at its place, or timm would compute something else.
    """
    if folder.exists():
        raise CommandError(f"{folder} exists.", "Name a new folder.")
    with tempfile.TemporaryDirectory(dir=folder.resolve().parent, prefix=".structguard-") as work:
        described, complete = Path(work, "version.json"), Path(work, "complete")
        described.write_text(json.dumps(version))
        failure = f"{version['model']} version {version['number']} cannot be exported."
        run(_MODULE, "export", str(described), str(checkpoint), str(complete), failure=failure)
        complete.rename(folder)
