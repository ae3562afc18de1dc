import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin

from service.registry.images import strip_metadata

NAME = "erika-mustermann"


def picture(mode="RGB"):
    noise = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    return image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)


def talkative(image, kind, **how):
    """The image as a file that says a name in every way its format has."""
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = NAME  # description, artist
    how |= {"exif": exif, "icc_profile": NAME.encode()}
    if kind == "PNG":
        how["pnginfo"] = PngImagePlugin.PngInfo()
        how["pnginfo"].add_text("Title", NAME)
        how["pnginfo"].add_itxt("Author", NAME, zip=False)
    else:
        how |= {"comment": NAME, "xmp": NAME.encode()} if kind == "JPEG" else {"xmp": NAME.encode()}
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue() + NAME.encode()


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


JPEGS = [{}, {"progressive": True, "optimize": True}, {"subsampling": 2, "restart_marker_blocks": 3}]


@pytest.mark.parametrize(
    ("kind", "mode", "how"),
    [("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    + [("JPEG", mode, how) for mode in ("L", "RGB", "CMYK") for how in JPEGS],
)
def test_a_file_is_left_with_its_pixels_and_nothing_else(kind, mode, how):
    content = talkative(picture(mode), kind, **how)
    bare = strip_metadata.strip(content)
    before, after = opened(content), opened(bare)
    assert (before.mode, before.size, before.tobytes()) == (after.mode, after.size, after.tobytes())
    assert NAME.encode() in content
    assert NAME.encode() not in bare


def test_transparent_colours_stay_so():
    file = io.BytesIO()
    picture("P").save(file, "PNG", transparency=bytes(range(256)))
    whole = opened(file.getvalue()).convert("RGBA").tobytes()
    assert opened(strip_metadata.strip(file.getvalue())).convert("RGBA").tobytes() == whole
    assert opened(strip_metadata.encode(opened(file.getvalue()))).convert("RGBA").tobytes() == whole


def test_what_cannot_be_stripped_is_encoded_anew():
    content = talkative(picture(), "WEBP", lossless=True)
    assert strip_metadata.strip(content) is None
    bare = strip_metadata.encode(opened(content))
    assert opened(bare).tobytes() == opened(content).tobytes()
    assert NAME.encode() not in bare
    assert opened(strip_metadata.encode(picture("CMYK"))).tobytes() == picture("CMYK").convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_broken_file_is_no_image_to_strip(kind):
    """And whatever stands in it, looking at it ends."""
    content = talkative(picture(), kind)
    for length in range(0, len(content) - 200, 7):
        strip_metadata.strip(content[:length])
        strip_metadata.strip(content[:length] + b"\xff" * 40)
    assert strip_metadata.strip(content[:300]) is None
