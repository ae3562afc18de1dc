"""Images reach the network exactly as their owner prepares them."""

import io
import json
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from service.registry.images import archive
from service.registry.images.archive import ImageArchiveWriter
from service.registry.models.preprocessing import Preprocessing
from worker.inputs.images import as_batch, batches, distinct_images, pixels

GRAY = Preprocessing(size=(2, 3), mean=[0.5], std=[0.5])
COLOUR = Preprocessing(size=(1, 1), mean=[0.5] * 3, std=[0.5] * 3)
CPU = torch.device("cpu")


def test_gray_pixels_become_floats_between_zero_and_one() -> None:
    image = Image.fromarray(np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8))
    assert torch.equal(pixels(image, GRAY), torch.tensor([[[0.0, 51, 102], [153, 204, 255]]]) / 255)


def test_colours_come_first() -> None:
    image = Image.fromarray(np.array([[[255, 0, 51]]], dtype=np.uint8))
    assert torch.equal(pixels(image, COLOUR), torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1))


def test_a_colour_image_is_turned_gray_for_a_network_with_one_channel() -> None:
    assert pixels(Image.new("RGB", (3, 2), "white"), GRAY).tolist() == [[[1.0] * 3] * 2]


@pytest.mark.parametrize(("resize", "expected"), [("stretch", [[0, 0, 1, 1]]), ("crop", [[0, 1]])])
def test_an_image_of_another_size_is_stretched_or_cropped(resize: str, expected: list[list[float]]) -> None:
    wide = Image.fromarray(np.array([[0, 0, 255, 255]], dtype=np.uint8))
    size = (1, len(expected[0]))
    preprocessing = Preprocessing(size=size, mean=[0], std=[1], resize=resize, interpolation="nearest")
    assert pixels(wide, preprocessing)[0].tolist() == expected


@pytest.mark.parametrize("side", [(300, 400), (224, 224), (256, 200)])
def test_a_share_of_the_image_is_cropped_as_torchvision_does_it(side: tuple[int, int]) -> None:
    """Scaled to 256, then the central 224. Theirs rounds to whole pixels between: less than one shade of 255 apart."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(side, Image.Resampling.BICUBIC)
    preprocessing = Preprocessing(size=(224, 224), mean=[0] * 3, std=[1] * 3, resize="crop", crop_pct=0.875)
    theirs = ImageClassification(crop_size=224, resize_size=256, mean=(0.0,) * 3, std=(1.0,) * 3)(image)

    ours = pixels(image, preprocessing)

    assert (ours - theirs).abs().mean() < 1 / 255
    whole = pixels(image, preprocessing.model_copy(update={"crop_pct": 1.0}))
    assert (whole - theirs).abs().mean() > 10 / 255


def test_both_kept_forms_give_the_same_batches(tmp_path: Path) -> None:
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
    np.savez(tmp_path / "samples.npz", images=images, labels=np.arange(5))
    with ImageArchiveWriter(tmp_path / "samples.zip") as kept:
        for at, image in enumerate(images):
            kept.add(png(image[..., 0]), at)
    for name in ("samples.npz", "samples.zip"):
        first, second = batches(tmp_path / name, GRAY, size=3, device=CPU)
        assert (len(first), len(second)) == (3, 2)
        assert torch.equal(
            torch.cat([first.images, second.images])[:, 0] * 255, torch.from_numpy(images[..., 0]).float()
        )
        assert torch.cat([first.labels, second.labels]).tolist() == [0, 1, 2, 3, 4]
        (some,) = batches(tmp_path / name, GRAY, size=3, device=CPU, indices=[1, 4])
        assert torch.equal(some.images, torch.cat([first.images, second.images])[[1, 4]])
        assert some.labels.tolist() == [1, 4]


def test_an_image_that_two_requests_name_is_forgotten_once(tmp_path: Path) -> None:
    """And is known to be both requests'."""
    for name, shades in (("a", (10, 20)), ("b", (20, 30))):
        with ImageArchiveWriter(tmp_path / name) as kept:
            for shade in shades:
                kept.add(png(np.full((2, 3), shade, dtype=np.uint8)), 0)
    first, second = uuid.uuid4(), uuid.uuid4()
    images = {first: archive.read(tmp_path / "a"), second: archive.read(tmp_path / "b")}
    distinct, own = distinct_images(images)
    assert own == {first: [0, 1], second: [1, 2]}
    assert (as_batch(distinct, GRAY).images[:, 0, 0, 0] * 255).round().tolist() == [10, 20, 30]


def test_two_palettes_are_two_images_to_forget(tmp_path: Path) -> None:
    """Pillow's pixels of a palette image are indices, and say nothing of what is seen."""
    indices = Image.fromarray(np.array([[0, 40, 80], [120, 160, 200]], np.uint8), "P")
    with ImageArchiveWriter(tmp_path / "a") as writer:
        for shades in (range(256), range(255, -1, -1)):
            indices.putpalette([value for shade in shades for value in (shade, shade, shade)])
            file = io.BytesIO()
            indices.save(file, "PNG")
            writer.add(file.getvalue(), 0)
    request_id = uuid.uuid4()
    distinct, own = distinct_images({request_id: archive.read(tmp_path / "a")})
    assert own == {request_id: [0, 1]}
    assert (as_batch(distinct, GRAY).images[:, 0, 0, 1] * 255).round().tolist() == [40, 215]


def test_sixteen_bit_grey_is_scaled_to_what_the_network_takes() -> None:
    """It was clipped: everything above 255 of 65,535 was white."""
    image = Image.fromarray(np.array([[0, 257 * 10, 257 * 128], [257, 257 * 254, 65_535]], np.uint16))
    assert (pixels(image, GRAY)[0] * 255).round().tolist() == [[0, 10, 128], [1, 254, 255]]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_kept_labels_can_be_read_without_this_code(tmp_path: Path) -> None:
    with ImageArchiveWriter(tmp_path / "samples") as kept:
        kept.add(b"first", 7)
    with zipfile.ZipFile(tmp_path / "samples") as samples:
        assert json.loads(samples.read("labels.json")) == [["000000", 7]]
