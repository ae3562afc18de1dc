"""Anchors that somebody computed themselves: an npz with the vectors `emb` (b, d) and their classes' `names` (b)."""

import hashlib
import zipfile
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from service.registry.errors import Fault, InvalidInput
from service.registry.images.archive import BROKEN_ZIP, read_npy_header
from service.registry.storage.artifacts import CHUNK

_MOST_DIMENSIONS = 16_384  # the largest text encoders have a quarter of it
_LONGEST_NAME = 4 * 200  # bytes of one class name in UTF-32


def digest(file: BinaryIO) -> str:
    """SHA-256 of the file, in hex."""
    whole = hashlib.sha256()
    while chunk := file.read(CHUNK):
        whole.update(chunk)
    return whole.hexdigest()


def read(file: BinaryIO, classes: list[str]) -> "np.ndarray":
    """The vectors (b, d) in the order of `classes`, as float32.

    Raises:
        InvalidInput: the file is no such npz, or does not have every class exactly once.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            present = set(archive.namelist())
            missing = [name for name in ("emb", "names") if f"{name}.npy" not in present]
            if missing:
                raise InvalidInput(*(Fault(f"#/anchors/{name}", "this array is missing") for name in missing))
            vectors = _array(archive, "emb", (len(classes), None), kinds="f", item=8)
            names = _array(archive, "names", (len(classes),), kinds="U", item=_LONGEST_NAME)
    except BROKEN_ZIP as error:
        raise InvalidInput(Fault("#/anchors", "is not a whole npz file")) from error
    position = {name: at for at, name in enumerate(names.tolist())}
    if position.keys() != set(classes):
        raise InvalidInput(Fault("#/anchors/names", "must be the classes, each exactly once"))
    with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite, and is refused as such
        ordered = vectors[[position[name] for name in classes]].astype(np.float32)
    if not np.isfinite(ordered).all():
        raise InvalidInput(Fault("#/anchors/emb", "must be finite"))
    if not ordered.any(axis=1).all():
        raise InvalidInput(Fault("#/anchors/emb", "must have no row of zeros, which has no direction"))
    return ordered


def _array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int | None, ...], *, kinds: str, item: int
) -> "np.ndarray":
    """One array. Its header is checked before memory is taken for it."""
    wanted = f"must be of shape ({', '.join('d' if n is None else str(n) for n in shape)},) and type {kinds}"
    with archive.open(f"{name}.npy") as member:
        found, _, dtype = read_npy_header(member)
    fits = len(found) == len(shape) and all(
        n == want if want is not None else 0 < n <= _MOST_DIMENSIONS for n, want in zip(found, shape, strict=True)
    )
    if not fits or dtype.kind not in kinds or dtype.itemsize > item:
        raise InvalidInput(Fault(f"#/anchors/{name}", wanted))
    with archive.open(f"{name}.npy") as member:
        array: np.ndarray = npy.read_array(member, allow_pickle=False)
    return array
