"""Kept images as batches of pixels, prepared the way the version's owner prepares them."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from service.registry.images import archive
from service.registry.models.preprocessing import Preprocessing
from worker.unlearning import Batch

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

Labelled = tuple[Image.Image, int]
"""An image, and the position of its class."""


def pixels(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """An image as the network sees it before normalisation: (C, H, W), floats in [0, 1].

    Raises `KeyError` when the network has a number of channels that no image has.
    """
    height, width = preprocessing.size
    image = image.convert(_MODES[len(preprocessing.mean)])
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
    places: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """The images of a kept set, `size` at a time: all of them, or those at these places."""
    kept = archive.read(path, places)
    while some := list(islice(kept, size)):
        yield as_batch(some, preprocessing).to(device)


def distinct_images(
    images: Mapping[uuid.UUID, Iterable[Labelled]],
) -> tuple[list[Labelled], dict[uuid.UUID, list[int]]]:
    """The images to forget of one or more requests, each distinct image once, and which of them are each request's."""
    distinct: list[Labelled] = []
    places: dict[bytes, int] = {}
    own: dict[uuid.UUID, list[int]] = {}
    for request_id, some in images.items():
        mine = set()
        for image, label in some:
            digest = hashlib.sha256(f"{image.mode} {image.size} {label} ".encode() + image.tobytes()).digest()
            if digest not in places:
                places[digest] = len(distinct)
                distinct.append((image, label))
            mine.add(places[digest])
        own[request_id] = sorted(mine)
    return distinct, own


def as_batch(some: Sequence[Labelled], preprocessing: Preprocessing) -> Batch:
    """Images as a network sees them."""
    return Batch(
        images=torch.stack([pixels(image, preprocessing) for image, _ in some]),
        labels=torch.tensor([label for _, label in some]),
    )
