"""Models of other programs: the worker's modules convert them to a version's metadata and weights, and back."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.cli.exits import CommandError
from service.cli.output import Output
from service.cli.processes import run

_MODULE = "worker.exchange"


@contextmanager
def imported(
    source: str, checkpoint: Path | None, weights: str | None, output: Output
) -> Iterator[tuple[dict[str, Any], Path]]:
    """The metadata of a new version, as far as the source has it, and its weights as safetensors.

    `weights` names one of several sets of weights in the checkpoint; what is left out of it is said on `output`.

    Raises:
        CommandError: the source does not exist, or its model is not supported.
    """
    with tempfile.TemporaryDirectory() as work:
        options = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        options += _chosen(weights)
        _say(run(_MODULE, "import", source, work, *options, failure=f"{source} cannot be imported."), output)
        yield json.loads(Path(work, "model.json").read_text()), Path(work, "model.safetensors")


@contextmanager
def as_safetensors(checkpoint: Path, weights: str | None, output: Output) -> Iterator[Path]:
    """The checkpoint, converted if its name says that it is pickled; what is left out is said on `output`.

    Raises:
        CommandError: it holds something else, or `weights` chooses in a file that is not pickled.
    """
    if checkpoint.suffix not in {".bin", ".ckpt", ".pkl", ".pt", ".pth", ".tar", ".th"}:
        if weights is not None:
            raise CommandError(f"{checkpoint} is a single state dict.", "--weights chooses in pickled files.")
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as work:
        target = Path(work, "model.safetensors")
        convert(checkpoint, target, weights, output)
        yield target


def convert(source: Path, target: Path, weights: str | None, output: Output) -> None:
    """Turn a pickled state dict into safetensors, in a process with few rights; its warnings go to `output`.

    Raises:
        CommandError: the file holds something else, or several sets of weights and `weights` names none of them.
    """
    arguments = (str(source), str(target), *_chosen(weights))
    _say(run(f"{_MODULE}.convert", *arguments, failure=f"{source} cannot be converted.", environment={}), output)


def _chosen(weights: str | None) -> list[str]:
    return [] if weights is None else [f"--weights={weights}"]


def _say(warnings: str, output: Output) -> None:
    if warnings := warnings.strip():
        output.say(warnings)


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
