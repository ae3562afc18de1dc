"""An imported model, and what all sources share: the allow-list, and weights as safetensors."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.registry.models.architectures import Architecture


class Unsupported(Exception):
    """What this is cannot be imported or exported; the message says why, to whoever asked."""


@dataclass(frozen=True)
class ImportedModel:
    """A safetensors file with the network's own tensor names, and the fields of a new version that its source gives."""

    checkpoint: Path
    description: dict[str, Any] = field(default_factory=dict)


def allowed(name: str, in_channels: int = 3) -> dict[str, Any]:
    """The architecture of this name, as a new version has it.

    Raises:
        Unsupported: it is not on the allow-list; the message has those that are like it.
    """
    try:
        return Architecture(name=name, in_channels=in_channels).model_dump()
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Unsupported(f"{name}: {message}") from error


def safetensors_of(source: Path, target: Path, weights: str | None = None) -> Path:
    """The weights of a file as safetensors: the same bytes if they are that already, else converted.

    `weights` names one of several sets in a pickled file. What the converter has to say is printed.

    Raises:
        Unsupported: it cannot be converted.
    """
    if source.suffix == ".safetensors":
        if weights is not None:
            raise Unsupported(f"{source} is a single state dict; --weights chooses in pickled files.")
        shutil.copyfile(source, target)
        return target
    # A process of its own, which sees nothing of this one's environment: unpickling may do anything.
    command = [sys.executable, "-I", "-m", "worker.exchange.convert", str(source), str(target)]
    if weights is not None:
        command.append(f"--weights={weights}")
    process = subprocess.run(command, env={}, capture_output=True, text=True, check=False)  # noqa: S603  (our own module)
    if process.returncode:
        raise Unsupported(process.stderr.strip().rpartition("\n")[2] or f"{source} could not be converted.")
    print(process.stdout, end="")  # noqa: T201  (as our caller's answer)
    return target
