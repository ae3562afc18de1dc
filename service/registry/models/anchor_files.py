"""Uploaded anchors: an npz with the vectors `emb` (b, d) and the class `names` (b)."""

import hashlib
import zipfile
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from service.registry.errors import Fault, InvalidInput
from service.registry.images.archive import BROKEN_ZIP, read_npy_header
from service.registry.storage.artifacts import CHUNK

_MAX_DIMENSIONS = 16_384  # four times those of the largest text encoders
_MAX_NAME_BYTES = 4 * 200  # bytes of one class name in UTF-32


def digest(file: BinaryIO) -> str:
    """SHA-256 of the file, in hex."""
    sha256 = hashlib.sha256()
    while chunk := file.read(CHUNK):
        sha256.update(chunk)
    return sha256.hexdigest()


def read(file: BinaryIO, classes: list[str]) -> "np.ndarray":
    """The vectors (b, d) in the order of `classes`, as float32.

    Raises:
        InvalidInput: the file is no such npz, or does not have every class exactly once.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = set(archive.namelist())
            missing = [name for name in ("emb", "names") if f"{name}.npy" not in members]
            if missing:
                raise InvalidInput(*(Fault(f"#/anchors/{name}", "this array is missing") for name in missing))
            vectors = _array(archive, "emb", (len(classes), None), kinds="f", max_itemsize=8)
            names = _array(archive, "names", (len(classes),), kinds="U", max_itemsize=_MAX_NAME_BYTES)
    except BROKEN_ZIP as error:
        raise InvalidInput(Fault("#/anchors", "is not a whole npz file")) from error
    rows = {name: at for at, name in enumerate(names.tolist())}
    if rows.keys() != set(classes):
        raise InvalidInput(Fault("#/anchors/names", "must be the classes, each exactly once"))
    with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite, and is refused as such
        ordered = vectors[[rows[name] for name in classes]].astype(np.float32)
    if not np.isfinite(ordered).all():
        raise InvalidInput(Fault("#/anchors/emb", "must be finite"))
    if not ordered.any(axis=1).all():
        raise InvalidInput(Fault("#/anchors/emb", "must have no row of zeros, which has no direction"))
    return ordered


def _array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int | None, ...], *, kinds: str, max_itemsize: int
) -> "np.ndarray":
    """One array, whose header is checked before memory is allocated for it. `None` in `shape` is any length."""
    requirement = f"must be of shape ({', '.join('d' if n is None else str(n) for n in shape)},) and type {kinds}"
    with archive.open(f"{name}.npy") as member:
        actual, _, dtype = read_npy_header(member)
    fits = len(actual) == len(shape) and all(
        n == expected if expected is not None else 0 < n <= _MAX_DIMENSIONS
        for n, expected in zip(actual, shape, strict=True)
    )
    if not fits or dtype.kind not in kinds or dtype.itemsize > max_itemsize:
        raise InvalidInput(Fault(f"#/anchors/{name}", requirement))
    with archive.open(f"{name}.npy") as member:
        array: np.ndarray = npy.read_array(member, allow_pickle=False)
    return array
