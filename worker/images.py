"""Kept images as batches of pixels, prepared the way the version's owner prepares them."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from service.registry import samples
from service.registry.preprocessing import Preprocessing
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
    image = image.convert(_MODES[len(preprocessing.mean)])
    filter_ = _RESAMPLING[preprocessing.interpolation]
    if preprocessing.resize == "crop":
        image = ImageOps.fit(image, (width, height), filter_, bleed=(1 - preprocessing.crop_pct) / 2)
    else:
        image = image.resize((width, height), filter_)
    values = np.array(image, dtype=np.float32)  # (H, W) or (H, W, C)
    return torch.from_numpy(values.reshape(height, width, -1)).permute(2, 0, 1).contiguous() / 255


def batches(path: Path, preprocessing: Preprocessing, *, size: int, device: torch.device) -> Iterator[Batch]:
    """All images of a kept set, `size` at a time."""
    kept = samples.read(path)
    while some := list(islice(kept, size)):
        yield _batch(some, preprocessing).to(device)


def forget_set(files: Iterable[BinaryIO], preprocessing: Preprocessing, device: torch.device) -> Batch:
    """The images to forget of one or more requests, each distinct image once."""
    distinct = {
        hashlib.sha256(f"{image.mode} {image.size} {label} ".encode() + image.tobytes()).digest(): (image, label)
        for file in files
        for image, label in _read_once(file)
    }
    return _batch(list(distinct.values()), preprocessing).to(device)


def _read_once(file: BinaryIO) -> Iterator[tuple[Image.Image, int]]:
    with file:
        yield from samples.read(file)


def _batch(some: list[tuple[Image.Image, int]], preprocessing: Preprocessing) -> Batch:
    return Batch(
        images=torch.stack([pixels(image, preprocessing) for image, _ in some]),
        labels=torch.tensor([label for _, label in some]),
    )
