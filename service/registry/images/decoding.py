"""What a decoded image shows, whatever mode its file has: this is what makes two files one image."""

import hashlib

import numpy as np
from PIL import Image


def reduced_to_8_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits for each channel, rounded; one with no more is returned as it is.

    Pillow decodes 16-bit grey as it is, and would then clip instead of scale it: anything above 1/256 became white.
    """
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    grey = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")  # PNG, tRNS: the one value that is not seen
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def rgba_digest(image: Image.Image) -> bytes:
    """SHA-256 of width, height and the decoded red, green, blue and alpha of every pixel.

    A grey image is the same as L and as RGB; two with the same palette indices and other palettes are two.
    """
    shown = reduced_to_8_bits(image)
    if shown.mode not in {"L", "LA", "P", "PA", "RGB", "RGBA"}:  # CMYK and YCbCr have no way to RGBA of their own
        shown = shown.convert("RGB")
    pixels = shown.convert("RGBA").tobytes()
    return hashlib.sha256(f"{image.width} {image.height} ".encode() + pixels).digest()
