"""Models of other programs: the worker's modules convert them to a version's metadata and weights, and back."""

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
    """The metadata of a new version, as far as the source has it, and its weights as safetensors.

    Raises:
        CommandError: the source does not exist, or its model is not supported.
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
    """Turn a pickled state dict into safetensors, in a process with few rights; its warnings.

    Raises:
        CommandError: the file holds something else.
    """
    return run(
        "worker.exchange.convert", str(source), str(target), failure=f"{source} cannot be converted.", environment={}
    )


def export(version: dict[str, Any], checkpoint: Path, folder: Path) -> None:
    """Write a version as a folder of the Hugging Face hub's form; it appears when it is complete.

    Raises:
        CommandError: the folder exists, or timm would compute other outputs from it.
    """
    if folder.exists():
        raise CommandError(f"{folder} exists.", "Name a new folder.")
    with tempfile.TemporaryDirectory(dir=folder.resolve().parent, prefix=".structguard-") as work:
        metadata_file, complete = Path(work, "version.json"), Path(work, "complete")
        metadata_file.write_text(json.dumps(version))
        failure = f"{version['model']} version {version['number']} cannot be exported."
        run(_MODULE, "export", str(metadata_file), str(checkpoint), str(complete), failure=failure)
        complete.rename(folder)
