"""Two files are one image exactly when what they show is the same."""

import io

import numpy as np
import pytest
from hypothesis import given, strategies
from PIL import Image

from service.registry.images.decoding import reduced_to_8_bits, rgba_digest

GREY = np.array([[0, 7], [128, 255]], np.uint8)


def decoded(image, **options):
    """From a PNG file, as the service and the worker have it."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    reopened = Image.open(file)
    reopened.load()
    return reopened


def palette(rgba):
    """The same pixels by a palette, with the alpha of each entry."""
    colours, indices = np.unique(rgba.reshape(-1, 4), axis=0, return_inverse=True)
    image = Image.fromarray(indices.reshape(rgba.shape[:2]).astype(np.uint8), "P")
    image.putpalette(colours[:, :3].tobytes())
    return decoded(image, transparency=colours[:, 3].tobytes())


def sixteen_bits(rgba):
    return decoded(Image.fromarray(rgba[..., 0].astype(np.uint16) * 257))


def forms(rgba):
    """Every mode that can hold these pixels."""
    alpha, is_grey = rgba[..., 3], (rgba[..., :1] == rgba[..., :3]).all()
    yield decoded(Image.fromarray(rgba, "RGBA"))
    yield palette(rgba)
    if is_grey:
        yield decoded(Image.fromarray(np.ascontiguousarray(rgba[..., [0, 3]]), "LA"))
    if (alpha == 255).all():
        yield decoded(Image.fromarray(np.ascontiguousarray(rgba[..., :3]), "RGB"))
        if is_grey:
            yield decoded(Image.fromarray(np.ascontiguousarray(rgba[..., 0]), "L"))
            yield sixteen_bits(rgba)
            if np.isin(rgba[..., 0], (0, 255)).all():
                yield decoded(Image.fromarray(np.ascontiguousarray(rgba[..., 0]), "L").convert("1"))


# Few values, so that two pictures are often the same, and grey, opaque or black and white ones are common.
channels = strategies.sampled_from([0, 1, 128, 255])
greys = channels.map(lambda value: (value, value, value, 255))
pictures = strategies.tuples(
    strategies.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]),
    strategies.lists(greys | strategies.tuples(channels, channels, channels, channels), min_size=4, max_size=4),
).map(lambda drawn: np.array(drawn[1][: drawn[0][0] * drawn[0][1]], np.uint8).reshape(*drawn[0], 4))


@given(pictures, pictures)
def test_two_files_are_one_image_exactly_when_their_decoded_rgba_is_equal(first, second):
    digests = {rgba_digest(image) for image in forms(first)}
    assert len(digests) == 1
    same = first.shape == second.shape and (first == second).all()
    assert all((rgba_digest(image) in digests) == same for image in forms(second))


def test_two_palettes_are_two_pictures():
    """Their indices are the same, and so are the bytes that Pillow keeps as pixels."""
    indices = Image.fromarray(GREY, "P")
    images = []
    for shades in (range(256), reversed(range(256))):
        indices.putpalette([value for shade in shades for value in (shade, shade, shade)])
        images.append(decoded(indices))
    assert images[0].tobytes() == images[1].tobytes()
    assert rgba_digest(images[0]) != rgba_digest(images[1])


@pytest.mark.parametrize(("value", "shade"), [(0, 0), (128, 0), (129, 1), (257, 1), (32_896, 128), (65_535, 255)])
def test_sixteen_bits_are_scaled_and_not_clipped(value, shade):
    image = decoded(Image.fromarray(np.full((2, 2), value, np.uint16)))
    assert np.asarray(reduced_to_8_bits(image)).tolist() == [[shade] * 2] * 2


def test_the_transparent_value_of_sixteen_bits_stays_transparent():
    values = np.array([[0, 1000], [65_535, 1001]], np.uint16)
    image = decoded(Image.fromarray(values), transparency=1000)
    assert np.asarray(reduced_to_8_bits(image))[..., -1].tolist() == [[255, 0], [255, 255]]


def test_a_photograph_in_cmyk_has_a_digest():
    """JPEG has it, and WebP and PNG do not."""
    file = io.BytesIO()
    Image.new("CMYK", (2, 2), (0, 200, 100, 0)).save(file, "JPEG")
    assert rgba_digest(Image.open(file)) != rgba_digest(Image.new("CMYK", (2, 2), (0, 0, 0, 0)))
