"""Stored images as batches of pixels, prepared the way the version's owner prepares them."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from service.registry.images import archive
from service.registry.images.archive import LabelledImage
from service.registry.images.decoding import reduced_to_8_bits, rgba_digest
from service.registry.models.preprocessing import Preprocessing
from worker.unlearning import Batch

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def pixels(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """An image as the network sees it before normalisation: (C, H, W), floats in [0, 1].

    Raises `KeyError` when the network has a number of channels that no image has.
    """
    height, width = preprocessing.size
    image = reduced_to_8_bits(image).convert(_MODES[len(preprocessing.mean)])
    filter_ = _RESAMPLING[preprocessing.interpolation]
    if preprocessing.resize == "crop":
        image = ImageOps.fit(image, (width, height), filter_, bleed=(1 - preprocessing.crop_pct) / 2)
    else:
        image = image.resize((width, height), filter_)
    values = np.array(image, dtype=np.float32)  # (H, W) or (H, W, C)
    return torch.from_numpy(values.reshape(height, width, -1)).permute(2, 0, 1).contiguous() / 255


def batches(
    path: Path,
    preprocessing: Preprocessing,
    *,
    size: int,
    device: torch.device,
    indices: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """The images of a stored set, `size` at a time: all of them, or those at these indices."""
    images = archive.read(path, indices)
    while batch := list(islice(images, size)):
        yield as_batch(batch, preprocessing).to(device)


def distinct_images(
    images: Mapping[uuid.UUID, Iterable[LabelledImage]],
) -> tuple[list[LabelledImage], dict[uuid.UUID, list[int]]]:
    """The images to forget of one or more requests, each distinct image once, and which of them are each request's."""
    distinct: list[LabelledImage] = []
    indices: dict[tuple[bytes, int], int] = {}
    own: dict[uuid.UUID, list[int]] = {}
    for request_id, request_images in images.items():
        positions = set()
        for image, label in request_images:
            key = rgba_digest(image), label
            if key not in indices:
                indices[key] = len(distinct)
                distinct.append((image, label))
            positions.add(indices[key])
        own[request_id] = sorted(positions)
    return distinct, own


def as_batch(images: Sequence[LabelledImage], preprocessing: Preprocessing) -> Batch:
    """Images prepared for a network, as floats (N, C, H, W) in [0, 1], with their labels."""
    return Batch(
        images=torch.stack([pixels(image, preprocessing) for image, _ in images]),
        labels=torch.tensor([label for _, label in images]),
    )
