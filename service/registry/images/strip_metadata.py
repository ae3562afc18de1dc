"""Removal of metadata from image files: EXIF with place and author, names, thumbnails, comments."""

import io
import re

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # W3C PNG (third edition), section 11

_JPEG = b"\xff\xd8\xff"
#: ITU T.81, table B.1: frames and Huffman tables, a scan, quantisation tables, the number of lines, restarts.
_JPEG_SEGMENTS = (*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD)
_SCAN, _END = 0xDA, 0xD9
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker that is not part of the scan
#: The two segments that define the colour space, without the other values that they may hold.
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def strip(content: bytes) -> bytes | None:
    """A PNG or JPEG with the same compressed pixels and nothing else. `None` if it is neither, or broken."""
    if content.startswith(_PNG):
        return _png(content)
    if content.startswith(_JPEG):
        return _jpeg(content)
    return None


def encode(image: Image.Image) -> bytes:
    """A PNG of the pixels, and of which of them are transparent."""
    bare = image.convert("RGB") if image.mode == "CMYK" else image.copy()  # PNG has no CMYK
    bare.info = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    file = io.BytesIO()
    bare.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _png(content: bytes) -> bytes | None:
    chunks, at = [_PNG], len(_PNG)
    while at + 8 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4])
        if kind in _PNG_CHUNKS:
            chunks.append(content[at:end])
        if kind == b"IEND":
            return b"".join(chunks)
        at = end
    return None


def _jpeg(content: bytes) -> bytes | None:
    segments, at = [_JPEG[:2]], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, end = content[at + 1], at + 2 + int.from_bytes(content[at + 2 : at + 4])
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _SCAN:
            next_marker = _AFTER_SCAN.search(content, end)
            if next_marker is None:
                return None
            end = next_marker.start()
        segment = content[at:end]
        if marker in _JPEG_SEGMENTS:
            segments.append(segment)
        elif segment.startswith(b"JFIF\0", 4):
            segments.append(_JFIF)
        elif marker == 0xEE and segment.startswith(b"Adobe", 4):
            segments.append(_ADOBE + segment[15:16])  # the colour transform
        at = end
        if content[at : at + 2] == bytes((0xFF, _END)):
            return b"".join(segments) + bytes((0xFF, _END))
    return None
