"""The forms in which labelled images are uploaded: single files, a zip of them, or an npz of pixels."""

import math
import re
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy

from service.registry.errors import MOST_FAULTS, Fault, InvalidInput
from service.registry.images.archive import BROKEN_ZIP, Target, copy_arrays, image_of, read_npy_header
from service.registry.images.decoding import rgba_digest
from service.registry.images.validation import (
    CheckedImages,
    ReceivedImage,
    UploadLimits,
    check_images,
    fingerprint,
)
from service.registry.storage.disk_full import is_disk_full

_ARCHIVE = "#/images/0"  # JSON Pointer of an archive, which is the only file
_DAMAGED = "the archive is damaged, encrypted or compressed in an unknown way"

Labels = Sequence[str | int]


def check_upload(
    files: Sequence[BinaryIO], labels: Labels | None, target: Target, *, classes: list[str], limits: UploadLimits
) -> CheckedImages:
    """Check uploaded images and write them to `target` in the form of `service.registry.images.archive`.

    `files` is one archive (zip or npz), or any number of images. `labels` names the class of each image: an integer is
    its position, a text its name or else, if it is a whole number, its position, because a command line has texts only.
    A zip may say it with its folders instead (`cat/1.png`), which are names; an npz always brings its own: `images`
    (N, H, W[, 1 or 3], uint8) and `labels` (N, integers).

    Raises:
        InvalidInput: with a fault for every file and label that is wrong; files are `#/images/0`, `#/images/1`, ….
    """
    if not files:
        raise InvalidInput(Fault("#/images", "at least one image is needed"))
    if labels is not None:
        names = frozenset(classes)
        labels = [_name_or_position(label, names) for label in labels]
    archives = [at for at, file in enumerate(files) if _is_archive(file)]
    if len(files) > 1 and archives:
        raise InvalidInput(*(Fault(f"#/images/{at}", "an archive must be the only file") for at in archives))
    if not archives:
        _check_count(len(files), limits)
        images = _received([file.read for file in files], "#/images", labels, classes)
        return check_images(images, target, limits)
    try:
        with zipfile.ZipFile(files[0]) as archive:
            members = _members(archive)
            if sum(member.file_size for member in members) > limits.bytes:
                raise InvalidInput(Fault(_ARCHIVE, f"the archive holds more than {limits.bytes} bytes unpacked"))
            if members and all(member.filename.endswith(".npy") for member in members):
                if labels is not None:
                    raise InvalidInput(Fault("#/labels", "an npz brings its own labels, leave these out"))
                checked = _check_npz(archive, len(classes), limits)
                copy_arrays(archive, target)
                return checked
            _check_count(len(members), limits)
            if labels is None:
                labels = [PurePosixPath(member.filename).parent.name for member in members]
            images = _received(
                [partial(_read_member, archive, member) for member in members], _ARCHIVE, labels, classes
            )
            return check_images(images, target, limits)
    except BROKEN_ZIP as error:
        if is_disk_full(error):  # no fault of the archive
            raise
        raise InvalidInput(Fault(_ARCHIVE, _DAMAGED)) from error


def _is_archive(file: BinaryIO) -> bool:
    head = file.read(4)
    file.seek(0)
    return head == b"PK\x03\x04"


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The archive's files by name, without what file managers add (`.DS_Store`, `__MACOSX/`)."""
    files = (
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not any(part.startswith((".", "__")) for part in PurePosixPath(member.filename).parts)
    )
    return sorted(files, key=lambda member: member.filename)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
    with archive.open(member) as file:
        return file.read(max_bytes)


def _received(
    readers: Sequence[Callable[[int], bytes]], pointer: str, labels: Labels | None, classes: list[str]
) -> list[ReceivedImage]:
    return [
        ReceivedImage(read, f"{pointer}/{at}", position, f"#/labels/{at}")
        for at, (read, position) in enumerate(zip(readers, _positions(labels, len(readers), classes), strict=True))
    ]


def _check_count(count: int, limits: UploadLimits) -> None:
    if count > limits.images:
        raise InvalidInput(Fault("#/images", f"at most {limits.images} images are allowed"))
    if count == 0:
        raise InvalidInput(Fault("#/images", "the archive holds no image"))


def _name_or_position(label: str | int, names: frozenset[str]) -> str | int:
    is_position = isinstance(label, str) and label not in names and re.fullmatch("[0-9]{1,9}", label)
    return int(label) if is_position else label


def _positions(labels: Labels | None, count: int, classes: list[str]) -> list[int]:
    """The class position of each image."""
    if labels is None:
        raise InvalidInput(Fault("#/labels", "a label for each image is needed"))
    if len(labels) != count:
        raise InvalidInput(Fault("#/labels", f"there are {count} images and {len(labels)} labels"))
    by_name = {name: position for position, name in enumerate(classes)}
    positions = [by_name.get(label, -1) if isinstance(label, str) else label for label in labels]
    faults = [
        Fault(f"#/labels/{at}", f"must be a class of the model: its name, or 0 to {len(classes) - 1}")
        for at, position in enumerate(positions)
        if not 0 <= position < len(classes)
    ]
    if faults:
        raise InvalidInput(*faults[:MOST_FAULTS])
    return positions


def _check_npz(archive: zipfile.ZipFile, classes: int, limits: UploadLimits) -> CheckedImages:
    """Check an npz without holding its pixels in memory."""
    names = set(archive.namelist())
    missing = [name for name in ("images", "labels") if f"{name}.npy" not in names]
    if missing:
        raise InvalidInput(*(Fault(f"{_ARCHIVE}/{name}", "this array is missing from the npz") for name in missing))
    with archive.open("labels.npy") as file:  # its header first: it says how much memory the array takes
        shape, _, dtype = read_npy_header(file)
    if len(shape) != 1 or dtype.kind not in "iu":
        raise InvalidInput(Fault(f"{_ARCHIVE}/labels", "must be one integer for each image"))
    _check_count(shape[0], limits)
    with archive.open("labels.npy") as file:
        labels = npy.read_array(file, allow_pickle=False)
    invalid = np.flatnonzero((labels < 0) | (labels >= classes))[:MOST_FAULTS]
    if invalid.size:
        detail = f"must be 0 to {classes - 1}"
        raise InvalidInput(*(Fault(f"{_ARCHIVE}/labels/{at}", detail) for at in invalid.tolist()))
    with archive.open("images.npy") as file:
        shape, fortran, dtype = read_npy_header(file)
        if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or dtype != np.uint8 or fortran:
            raise InvalidInput(
                Fault(f"{_ARCHIVE}/images", "must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
            )
        _check_count(shape[0], limits)
        if shape[0] != len(labels):
            raise InvalidInput(Fault(f"{_ARCHIVE}/labels", f"there are {shape[0]} images and {len(labels)} labels"))
        if not 0 < shape[1] * shape[2] <= limits.pixels:
            raise InvalidInput(Fault(f"{_ARCHIVE}/images", f"images must have 1 to {limits.pixels} pixels"))
        digests = _check_rows(file, shape[1:], labels)  # also checks the member's CRC
    return CheckedImages(int(shape[0]), fingerprint(digests))


def _check_rows(file: IO[bytes], shape: tuple[int, ...], labels: np.ndarray) -> dict[bytes, int]:
    digests: dict[bytes, int] = {}
    size = math.prod(shape)
    for at, label in enumerate(labels.tolist()):
        pixels = file.read(size)
        if len(pixels) != size:
            raise EOFError
        image = image_of(np.frombuffer(pixels, np.uint8).reshape(shape))
        if digests.setdefault(rgba_digest(image), label) != label:
            raise InvalidInput(Fault(f"{_ARCHIVE}/labels/{at}", "the same image has another label earlier in this npz"))
    if file.read(1):
        raise ValueError
    return digests
