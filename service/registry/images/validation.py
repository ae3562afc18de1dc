"""Labelled images as people send them: single images, a zip of them, or an npz of pixels. Everything is checked here.

What is wrong is collected and reported together, each fault with a pointer to the file or label that it concerns.
"""

import hashlib
import io
import math
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from service.registry.errors import MOST_FAULTS, Fault, InvalidInput
from service.registry.images import strip_metadata
from service.registry.images.archive import Target, Writer
from service.registry.storage.artifacts import CHUNK
from service.registry.storage.disk_full import ran_out

_FORMATS = ("PNG", "JPEG", "WEBP")
_DAMAGED = "the archive is damaged, encrypted or compressed in an unknown way"

#: What reading a broken zip or npz can raise, see zipfile.ZipFile.open, zlib and numpy.lib.format.
BROKEN_ZIP = (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError, KeyError)

Labels = Sequence[str | int]


@dataclass(frozen=True)
class Limits:
    """How much one upload may hold."""

    images: int  # per upload
    pixels: int  # per image
    bytes: int  # per upload, unpacked

    @property
    def encoded(self) -> int:
        """Bytes of one encoded image: as many as its pixels have, and room for a header."""
        return 4 * self.pixels + (1 << 20)


@dataclass(frozen=True)
class Upload:
    """A file that was sent, and the JSON Pointer to its place in the request."""

    pointer: str
    file: BinaryIO


class Unobtainable(Exception):
    """Why an image cannot be had, without the address where it was looked for."""


@dataclass(frozen=True)
class Labelled:
    """An image, and where a fault in it or in its label points to."""

    read: Callable[[int], bytes]  # at most so many bytes; may raise `Unobtainable`
    pointer: str
    position: int  # of its class
    label_pointer: str
    about: str = ""  # what to tell of it besides the pointer


@dataclass(frozen=True)
class Kept:
    """What was sent and is right."""

    count: int  # images
    fingerprint: bytes  # the same for the same images with the same labels, in whatever order they come


def keep(
    uploads: Sequence[Upload], labels: Labels | None, target: Target, *, classes: list[str], limits: Limits
) -> Kept:
    """Check what was sent and write it to `target` in the form of `service.registry.images.archive`.

    `uploads` is one archive (zip or npz), or any number of images. `labels` names the class of each image, by position
    or by name. A zip may say it with its folders instead (`cat/1.png`); an npz always brings its own: `images`
    (N, H, W[, 1 or 3], uint8) and `labels` (N, integers).

    Raises:
        InvalidInput: with a fault for every file and label that is wrong.
    """
    if not uploads:
        raise InvalidInput(Fault("#/images", "at least one image is needed"))
    archives = [upload for upload in uploads if _is_archive(upload.file)]
    if len(uploads) > 1 and archives:
        raise InvalidInput(*(Fault(upload.pointer, "an archive must be the only file") for upload in archives))
    if not archives:
        _check_count(len(uploads), limits)
        sources = [(upload.file.read, upload.pointer) for upload in uploads]
        return keep_images(_labelled(sources, _positions(labels, len(uploads), classes)), target, limits)
    (upload,) = uploads
    try:
        with zipfile.ZipFile(upload.file) as archive:
            members = _members(archive)
            if sum(member.file_size for member in members) > limits.bytes:
                raise InvalidInput(Fault(upload.pointer, f"the archive holds more than {limits.bytes} bytes unpacked"))
            if members and all(member.filename.endswith(".npy") for member in members):
                if labels is not None:
                    raise InvalidInput(Fault("#/labels", "an npz brings its own labels, leave these out"))
                kept = _check_pixels(archive, upload.pointer, len(classes), limits)
                _copy_arrays(archive, target)
                return kept
            _check_count(len(members), limits)
            if labels is None:
                labels = [PurePosixPath(member.filename).parent.name for member in members]
            sources = [(partial(_member, archive, m), f"{upload.pointer}/{at}") for at, m in enumerate(members)]
            return keep_images(_labelled(sources, _positions(labels, len(members), classes)), target, limits)
    except BROKEN_ZIP as error:
        if ran_out(error):  # nothing is wrong with the archive, but there is no room to unpack it
            raise
        raise InvalidInput(Fault(upload.pointer, _DAMAGED)) from error


def _is_archive(file: BinaryIO) -> bool:
    head = file.read(4)
    file.seek(0)
    return head == b"PK\x03\x04"


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The archive's files by name, without what file managers add (`.DS_Store`, `__MACOSX/`)."""
    found = (
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not any(part.startswith((".", "__")) for part in PurePosixPath(member.filename).parts)
    )
    return sorted(found, key=lambda member: member.filename)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        return file.read(most)


def _labelled(sources: Sequence[tuple[Callable[[int], bytes], str]], positions: list[int]) -> list[Labelled]:
    return [
        Labelled(read, pointer, position, f"#/labels/{at}")
        for at, ((read, pointer), position) in enumerate(zip(sources, positions, strict=True))
    ]


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.images:
        raise InvalidInput(Fault("#/images", f"at most {limits.images} images are allowed"))
    if count == 0:
        raise InvalidInput(Fault("#/images", "the archive holds no image"))


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


def keep_images(images: Iterable[Labelled], target: Target, limits: Limits) -> Kept:
    """Check single images, and write them to `target` in the form of `service.registry.images.archive`.

    Raises:
        InvalidInput: with a fault for every image and label that is wrong.
    """
    faults: list[Fault] = []
    seen: dict[bytes, int] = {}
    count = size = 0
    with Writer(target) as kept:
        for image in images:
            try:
                content = image.read(limits.encoded + 1)
                bare, fingerprint = _checked(content, limits)
            except (Unobtainable, _Unfit) as error:
                faults.append(Fault(image.pointer, image.about + str(error)))
            else:
                if seen.setdefault(fingerprint, image.position) != image.position:
                    detail = "the same image has another label earlier in this request"
                    faults.append(Fault(image.label_pointer, image.about + detail))
                kept.add(bare, image.position)
                count += 1
                size += len(content)
            if size > limits.bytes:
                faults.append(Fault(image.pointer, f"the images have more than {limits.bytes} bytes together"))
                break
            if len(faults) == MOST_FAULTS:
                break
    if faults:
        raise InvalidInput(*faults)
    return Kept(count, _together(seen))


class _Unfit(Exception):
    """What is wrong with an image."""


def _checked(content: bytes, limits: Limits) -> tuple[bytes, bytes]:
    """The file without what it says besides its pixels, and a hash of these."""
    if not content:
        raise _Unfit("the file is empty")
    if len(content) > limits.encoded:
        raise _Unfit(f"the file has more than {limits.encoded} bytes")
    bare = strip_metadata.strip(content)
    try:
        image = Image.open(io.BytesIO(bare or content), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise _Unfit(f"the image has more than {limits.pixels} pixels") from None
    except (OSError, ValueError, SyntaxError):  # Pillow's parsers raise all three
        raise _Unfit("is not a PNG, JPEG or WebP image") from None
    with image:
        if image.width * image.height > limits.pixels:  # known from the header, before anything is decoded
            raise _Unfit(f"the image has more than {limits.pixels} pixels")
        try:
            image.load()
        except (OSError, ValueError, SyntaxError, EOFError):
            raise _Unfit("the image is damaged") from None
        return bare or strip_metadata.encode(image), _digest(image.mode, image.size, image.tobytes())


def _check_pixels(archive: zipfile.ZipFile, pointer: str, classes: int, limits: Limits) -> Kept:
    """Check an npz without holding its pixels in memory."""
    present = set(archive.namelist())
    missing = [name for name in ("images", "labels") if f"{name}.npy" not in present]
    if missing:
        raise InvalidInput(*(Fault(f"{pointer}/{name}", "this array is missing from the npz") for name in missing))
    with archive.open("labels.npy") as file:  # its header first: it says how much memory the array takes
        shape, _, dtype = _header(file)
    if len(shape) != 1 or dtype.kind not in "iu":
        raise InvalidInput(Fault(f"{pointer}/labels", "must be one integer for each image"))
    _check_count(shape[0], limits)
    with archive.open("labels.npy") as file:
        labels = npy.read_array(file, allow_pickle=False)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))[:MOST_FAULTS]
    if wrong.size:
        detail = f"must be 0 to {classes - 1}"
        raise InvalidInput(*(Fault(f"{pointer}/labels/{at}", detail) for at in wrong.tolist()))
    with archive.open("images.npy") as file:
        shape, fortran, dtype = _header(file)
        if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or dtype != np.uint8 or fortran:
            raise InvalidInput(
                Fault(f"{pointer}/images", "must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
            )
        _check_count(shape[0], limits)
        if shape[0] != len(labels):
            raise InvalidInput(Fault(f"{pointer}/labels", f"there are {shape[0]} images and {len(labels)} labels"))
        if not 0 < shape[1] * shape[2] <= limits.pixels:
            raise InvalidInput(Fault(f"{pointer}/images", f"images must have 1 to {limits.pixels} pixels"))
        seen = _check_rows(file, shape[1:], labels, pointer)  # also checks the member's CRC
    return Kept(int(shape[0]), _together(seen))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether the order is Fortran's, and type of an array in NumPy's format."""
    version = npy.read_magic(file)
    return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)


def _check_rows(file: IO[bytes], shape: tuple[int, ...], labels: np.ndarray, pointer: str) -> dict[bytes, int]:
    seen: dict[bytes, int] = {}
    size, mode = math.prod(shape), "RGB" if shape[2:] == (3,) else "L"
    for at, label in enumerate(labels.tolist()):
        pixels = file.read(size)
        if len(pixels) != size:
            raise EOFError
        if seen.setdefault(_digest(mode, (shape[1], shape[0]), pixels), label) != label:
            raise InvalidInput(Fault(f"{pointer}/labels/{at}", "the same image has another label earlier in this npz"))
    if file.read(1):
        raise ValueError
    return seen


def _digest(mode: str, size: tuple[int, int], pixels: bytes) -> bytes:
    """Of one image, whatever format it came in."""
    return hashlib.sha256(f"{mode} {size} ".encode() + pixels).digest()


def _together(seen: dict[bytes, int]) -> bytes:
    """Of all of them, in no order."""
    return hashlib.sha256(b"".join(sorted(digest + label.to_bytes(8) for digest, label in seen.items()))).digest()


def _copy_arrays(archive: zipfile.ZipFile, target: Target) -> None:
    """Keep what was checked, and nothing else that the archive may hold or say."""
    with zipfile.ZipFile(target, "w", archive.getinfo("images.npy").compress_type) as kept:
        with archive.open("images.npy") as source, kept.open("images.npy", "w", force_zip64=True) as copy:
            shape, fortran, dtype = _header(source)
            header = {"shape": shape, "fortran_order": fortran, "descr": npy.dtype_to_descr(dtype)}
            npy.write_array_header_1_0(copy, header)
            shutil.copyfileobj(source, copy, CHUNK)
        with archive.open("labels.npy") as source, kept.open("labels.npy", "w") as copy:
            npy.write_array(copy, npy.read_array(source, allow_pickle=False), allow_pickle=False)
