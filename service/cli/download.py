"""Downloading a checkpoint: resumed where it broke, checked against its digest, and visible only when it is whole."""

import hashlib
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from service.cli.client import Client
from service.cli.exits import CommandError, Unreachable

_TRIES = 5  # broken connections in a row without a single new byte
_PAUSE = 0.5  # seconds after a broken connection

Progress = Callable[[int], None]


def download(client: Client, version: dict[str, Any], target: Path, on_progress: Progress) -> None:
    """Fetch the checkpoint of `version` to `target`; a download that broke earlier is continued.

    Raises:
        CommandError: the connection kept breaking, or the bytes are not those that were registered.
    """
    if target.exists() and _sha256(target) == version["sha256"]:
        return
    # The digest is in the name, so that what is there already can only be the beginning of this very file.
    part = target.with_name(f"{target.name}.{version['sha256'][:12]}.part")
    failures = 0
    while (offset := _size(part)) < version["size"]:
        try:
            _fetch(client, version, part, offset, on_progress)
            break
        except httpx.TransportError as error:
            failures = failures + 1 if _size(part) == offset else 0
            if failures == _TRIES:
                raise Unreachable("The connection keeps breaking.", f"{part} holds {offset} bytes so far.") from error
            time.sleep(_PAUSE)
    if _sha256(part) != version["sha256"]:
        part.unlink()
        raise CommandError("The file is damaged.", "Its SHA-256 is not the registered one. Nothing was kept.")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _fetch(client: Client, version: dict[str, Any], part: Path, offset: int, on_progress: Progress) -> None:
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": f'"sha256:{version["sha256"]}"'}
    with client.stream(version["links"]["checkpoint"], headers=headers) as response:
        continued = response.status_code == HTTPStatus.PARTIAL_CONTENT  # otherwise it starts at the first byte again
        with part.open("ab" if continued else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                on_progress(file.tell())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
