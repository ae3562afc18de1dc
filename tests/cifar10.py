"""Real CIFAR-10 with a published ResNet-20 and CLIP's class embeddings, where they are at hand."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESNET20 = DATA / "weights" / "resnet20-12fca82f.th"
CLIP = DATA / "clip" / "clip_vitb32_text_cifar10.npz"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the ResNet was trained

needed = pytest.mark.skipif(not RESNET20.exists(), reason=f"CIFAR-10 is not at {DATA}; STRUCTGUARD_DATA says where")


def first_test_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first test images: uint8 (N, 32, 32, 3) and labels (N,)."""
    return _decode("test", range(count))


def forget_set(k: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`k` training images, drawn as published numbers are: uint8 (k, 32, 32, 3) and labels (k,)."""
    chosen = torch.randperm(50_000, generator=torch.Generator().manual_seed(seed))[:k].tolist()
    drawn = [_decode(f"train-{at // 12_500}", [at % 12_500]) for at in chosen]  # four shards, in their order
    return np.concatenate([images for images, _ in drawn]), np.concatenate([labels for _, labels in drawn])


def _decode(shard: str, indices: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / "cifar10" / f"{shard}.npz") as z:
        webp, offsets, labels = z["webp"], z["offsets"], z["labels"]
    files = [io.BytesIO(webp[offsets[i] : offsets[i + 1]].tobytes()) for i in indices]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]), labels[list(indices)].astype(int)
