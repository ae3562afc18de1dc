"""Labelled images as they are kept: an npz of pixels, or a zip of encoded images with their labels in `labels.json`.

Their compressed pixels are kept as they came, so none changes between the person's file and the model's input. Those of
deletion requests are kept encrypted, those of evaluation sets are not.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from service.registry.crypto.encrypted_files import open_sealed
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings
from service.registry.tables import DeletionRequest

_LABELS = "labels.json"

#: A file that is only written on, from its beginning to its end.
Target = Path | BufferedIOBase


class ImagesMissing(RegistryError):
    """The images are not in the artifact store; restore it from a backup, then retry."""


class Writer:
    """Writes a zip of encoded images. Use as a context manager."""

    def __init__(self, target: Target) -> None:
        self._archive = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self._index: list[tuple[str, int]] = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.writestr(_LABELS, json.dumps(self._index))
        self._archive.close()

    def add(self, content: bytes, label: int) -> None:
        """Append one encoded image; `label` is its class's position."""
        name = f"{len(self._index):06d}"
        self._archive.writestr(name, content)
        self._index.append((name, label))


def open_of(request: DeletionRequest, file: Path, settings: RegistrySettings) -> BinaryIO:
    """The images of a deletion request, for `read`: they are decrypted as they are read.

    Raises:
        ImagesMissing: there are none.
        MasterKeyUnusable, OtherMasterKey, SealBroken: they cannot be decrypted.
    """
    if file.parent.exists() and not file.exists():  # without the folder, the disk is away and may come back
        raise ImagesMissing
    if request.samples_key is None:  # it was stored by a release that did not encrypt
        return file.open("rb")
    return open_sealed(file, MasterKey(settings).unwrap(request.samples_key, request.id))


def read(source: Path | BinaryIO, places: Sequence[int] | None = None) -> Iterator[tuple[Image.Image, int]]:
    """The kept images with their labels, in the order in which they were sent; with `places` only those that are there.

    Places are counted from 0, and those behind the last image mean nothing.
    """
    with zipfile.ZipFile(source) as archive:
        if _LABELS in archive.namelist():
            index = json.loads(archive.read(_LABELS))
            for name, label in index if places is None else [index[at] for at in places if at < len(index)]:
                with archive.open(name) as member, Image.open(member) as image:
                    image.load()
                    yield image, label
            return
    with np.load(source, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
        for at in range(len(labels)) if places is None else (at for at in places if at < len(labels)):
            pixels, label = images[at], labels[at]
            yield Image.fromarray(pixels.squeeze(-1) if pixels.shape[2:] == (1,) else pixels), int(label)
