"""What the command line sends: models, versions, evaluation sets, anchors and deletion requests."""

import hashlib
import mimetypes
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from service.cli.client import Client, Files
from service.cli.exits import CommandError, Refused

_ARCHIVES = {".zip", ".npz"}
_BYTES = "application/octet-stream"


def register_model(client: Client, model: dict[str, Any]) -> bool:
    """Create the model unless it exists; whether it was created."""
    try:
        client.create("/v1/models", model)
    except Refused as refusal:
        if refusal.status != 409:
            raise
        return False
    return True


def register_version(client: Client, model: str, metadata: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """Upload a checkpoint as the model's next version; the service refuses it if other bytes arrive."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        part = ("checkpoint", ("checkpoint.safetensors", file, _BYTES))
        return client.create(f"/v1/models/{model}/versions", {**metadata, "sha256": digest}, [part])


def add_evaluation_set(client: Client, model: str, kind: str, images: Path) -> dict[str, Any]:
    """Upload labelled images as an evaluation set with the name of their file."""
    metadata = {"name": images.stem.lower(), "kind": kind}
    with images.open("rb") as file:
        part = ("images", (f"images{images.suffix}", file, _BYTES))
        return client.create(f"/v1/models/{model}/evaluation-sets", metadata, [part])


def add_anchors(client: Client, model: str, anchors: Path) -> str:
    """Upload anchors for the classes of the model; the identifier of the anchor set."""
    metadata = {"classes": newest_version(client, model)["classes"]}
    with anchors.open("rb") as file:
        anchor_set = client.create("/v1/anchor-sets", metadata, [("anchors", ("anchors.npz", file, _BYTES))])
    return str(anchor_set["id"])


def request_deletion(client: Client, metadata: dict[str, Any], images: Sequence[Path]) -> dict[str, Any]:
    """Create a deletion request, with images unless `metadata` names them. File names may be personal: none is sent."""
    with ExitStack() as stack:
        files: Files = [
            ("images", (f"{index}{path.suffix}", _content(path, stack), mimetypes.guess_type(path)[0] or _BYTES))
            for index, path in enumerate(images)
        ]
        return client.create("/v1/deletion-requests", metadata, files)


def _content(path: Path, stack: ExitStack) -> Any:
    """An archive is streamed. Single images are read: they are small, and a thousand open files are too many."""
    return stack.enter_context(path.open("rb")) if path.suffix.lower() in _ARCHIVES else path.read_bytes()


def newest_version(client: Client, model: str) -> dict[str, Any]:
    """The model's newest version.

    Raises:
        CommandError: it has none.
    """
    versions = client.get(f"/v1/models/{model}/versions", limit=1)["items"]
    if not versions:
        raise CommandError(f"The model {model} has no version yet.")
    version: dict[str, Any] = versions[0]
    return version
