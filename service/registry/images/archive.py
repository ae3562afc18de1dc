"""Labelled images as they are kept: an npz of pixels, or a zip of encoded images with their labels in `labels.json`.

The compressed pixels are stored as uploaded, so that no pixel differs from the uploaded file. Archives of deletion
requests are encrypted, those of evaluation sets are not.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from service.registry.crypto.encrypted_files import open_encrypted
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import RegistryError
from service.registry.settings import RegistrySettings
from service.registry.storage.artifacts import CHUNK
from service.registry.tables import DeletionRequest

_LABELS = "labels.json"

#: What reading a broken zip or npz can raise, see zipfile.ZipFile.open, zlib and numpy.lib.format.
BROKEN_ZIP = (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError, KeyError)

#: An image, and the position of its class, from 0.
LabelledImage = tuple[Image.Image, int]

#: A file that is written sequentially, without seeking.
Target = Path | BufferedIOBase


class ImagesMissing(RegistryError):
    """The images are not in the artifact store; restore it from a backup, then retry."""


class ImageArchiveWriter:
    """Writes a zip of encoded images. Use as a context manager."""

    def __init__(self, target: Target) -> None:
        self._archive = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self._index: list[tuple[str, int]] = []

    def __enter__(self) -> "ImageArchiveWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.writestr(_LABELS, json.dumps(self._index))
        self._archive.close()

    def add(self, content: bytes, label: int) -> None:
        """Append one encoded image; `label` is the position of its class, from 0."""
        name = f"{len(self._index):06d}"
        self._archive.writestr(name, content)
        self._index.append((name, label))


def image_of(pixels: np.ndarray) -> Image.Image:
    """One row of the array `images`: (H, W) and (H, W, 1) are grey, (H, W, 3) is RGB."""
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[2:] == (1,) else pixels)


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, Fortran order and type of an array, from the header of a `.npy` file."""
    version = npy.read_magic(file)
    return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)


def copy_arrays(archive: zipfile.ZipFile, target: Target) -> None:
    """Copy the arrays `images` and `labels` of a checked npz, without other members or metadata."""
    with zipfile.ZipFile(target, "w", archive.getinfo("images.npy").compress_type) as output:
        with archive.open("images.npy") as source, output.open("images.npy", "w", force_zip64=True) as copy:
            shape, fortran, dtype = read_npy_header(source)
            header = {"shape": shape, "fortran_order": fortran, "descr": npy.dtype_to_descr(dtype)}
            npy.write_array_header_1_0(copy, header)
            shutil.copyfileobj(source, copy, CHUNK)
        with archive.open("labels.npy") as source, output.open("labels.npy", "w") as copy:
            npy.write_array(copy, npy.read_array(source, allow_pickle=False), allow_pickle=False)


def open_images(request: DeletionRequest, file: Path, settings: RegistrySettings) -> BinaryIO:
    """The images of a deletion request, as an archive for `read`, which is decrypted as it is read.

    Raises:
        ImagesMissing: the file does not exist.
        MasterKeyUnusable, OtherMasterKey, SealBroken: they cannot be decrypted.
    """
    if file.parent.exists() and not file.exists():  # without the folder, the disk is not mounted
        raise ImagesMissing
    if request.samples_key is None:  # it was stored by a release that did not encrypt
        return file.open("rb")
    return open_encrypted(file, MasterKey(settings).unwrap(request.samples_key, request.id))


def read(source: Path | BinaryIO, indices: Sequence[int] | None = None) -> Iterator[LabelledImage]:
    """The images in the order of upload: all, or those at `indices`, from 0.

    Indices after the last image are skipped.
    """
    with zipfile.ZipFile(source) as archive:
        if _LABELS in archive.namelist():
            index = json.loads(archive.read(_LABELS))
            for name, label in index if indices is None else [index[at] for at in indices if at < len(index)]:
                with archive.open(name) as member, Image.open(member) as image:
                    image.load()
                    yield image, label
            return
    with np.load(source, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
        for at in range(len(labels)) if indices is None else (at for at in indices if at < len(labels)):
            pixels, label = images[at], labels[at]
            yield image_of(pixels), int(label)
