"""Checks of single images: their format, their size, and that no image has two labels.

Faults are collected and reported together, each with a JSON Pointer to the file or label that it concerns.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from PIL import Image

from service.registry.errors import MOST_FAULTS, Fault, InvalidInput
from service.registry.images import strip_metadata
from service.registry.images.archive import ImageArchiveWriter, Target
from service.registry.images.decoding import rgba_digest

_FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class UploadLimits:
    """Limits of one upload."""

    images: int  # per upload
    pixels: int  # per image
    bytes: int  # per upload, unpacked

    @property
    def encoded(self) -> int:
        """Bytes of one encoded image: four per pixel, and 1 MiB for headers."""
        return 4 * self.pixels + (1 << 20)


class ImageRejected(Exception):
    """Why an image is refused or cannot be fetched. The text never holds its address, which may hold a name."""


@dataclass(frozen=True)
class ReceivedImage:
    """An unchecked image with its label, and the JSON Pointers of both for faults."""

    read: Callable[[int], bytes]  # given the most bytes to read; may raise `ImageRejected`
    pointer: str
    label: int  # position of the class, from 0
    label_pointer: str
    context: str = ""  # prefix of the detail of each fault


@dataclass(frozen=True)
class CheckedImages:
    """The result of checking and writing images."""

    count: int
    fingerprint: bytes  # SHA-256, independent of the order of the images, see `fingerprint`


def check_images(images: Iterable[ReceivedImage], target: Target, limits: UploadLimits) -> CheckedImages:
    """Check single images and write them to `target` in the form of `service.registry.images.archive`.

    Raises:
        InvalidInput: with a fault for every image and label that is wrong.
    """
    faults: list[Fault] = []
    labels: dict[bytes, int] = {}
    count = size = 0
    with ImageArchiveWriter(target) as writer:
        for image in images:
            try:
                content = image.read(limits.encoded + 1)
                stripped, digest = _check_image(content, limits)
            except ImageRejected as error:
                faults.append(Fault(image.pointer, image.context + str(error)))
            else:
                if labels.setdefault(digest, image.label) != image.label:
                    detail = "the same image has another label earlier in this request"
                    faults.append(Fault(image.label_pointer, image.context + detail))
                writer.add(stripped, image.label)
                count += 1
                size += len(content)
            if size > limits.bytes:
                faults.append(Fault(image.pointer, f"the images have more than {limits.bytes} bytes together"))
                break
            if len(faults) == MOST_FAULTS:
                break
    if faults:
        raise InvalidInput(*faults)
    return CheckedImages(count, fingerprint(labels))


def fingerprint(labels: Mapping[bytes, int]) -> bytes:
    """SHA-256 of a set of labelled images, in any order; `labels` maps each `rgba_digest` to its label."""
    return hashlib.sha256(b"".join(sorted(digest + label.to_bytes(8) for digest, label in labels.items()))).digest()


def _check_image(content: bytes, limits: UploadLimits) -> tuple[bytes, bytes]:
    """The file without its metadata, and the `rgba_digest` of the image."""
    if not content:
        raise ImageRejected("the file is empty")
    if len(content) > limits.encoded:
        raise ImageRejected(f"the file has more than {limits.encoded} bytes")
    stripped = strip_metadata.strip(content)
    try:
        image = Image.open(io.BytesIO(stripped or content), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise ImageRejected(f"the image has more than {limits.pixels} pixels") from None
    except (OSError, ValueError, SyntaxError):  # Pillow's parsers raise all three
        raise ImageRejected("is not a PNG, JPEG or WebP image") from None
    with image:
        if image.width * image.height > limits.pixels:  # known from the header, before anything is decoded
            raise ImageRejected(f"the image has more than {limits.pixels} pixels")
        try:
            image.load()
        except (OSError, ValueError, SyntaxError, EOFError):
            raise ImageRejected("the image is damaged") from None
        return stripped or strip_metadata.encode(image), rgba_digest(image)
