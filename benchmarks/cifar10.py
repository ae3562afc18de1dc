"""Real CIFAR-10 with a published ResNet-20 and CLIP's class embeddings, for benchmarks and for tests.

They lie in the folder that STRUCTGUARD_DATA names, under `cifar10/` (lossless WebP in npz), `weights/` and `clip/`.
"""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from worker.cifar_resnet import cifar_resnet
from worker.unlearning import Batch, SplitClassifier

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESNET20 = DATA / "weights" / "resnet20-12fca82f.th"
CLIP = DATA / "clip" / "clip_vitb32_text_cifar10.npz"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the ResNet was trained


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


def batch(images: np.ndarray, labels: np.ndarray) -> Batch:
    """uint8 (N, H, W, C) and labels (N,) -> what the method takes."""
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels))


def resnet20() -> SplitClassifier:
    """The published network (akamaster/pytorch_resnet_cifar10), 91.73 % on the test images."""
    network = cifar_resnet(20, num_classes=10)
    published = torch.load(RESNET20, weights_only=True, map_location="cpu")
    weights = {name.removeprefix("module."): tensor for name, tensor in published["state_dict"].items()}
    network.load_state_dict(weights, strict=False)  # published before BatchNorm counted its batches
    return SplitClassifier(network, mean=MEAN, std=STD).eval()


def clip_anchors() -> torch.Tensor:
    """CLIP ViT-B/32's embeddings of the class names, (10, 512)."""
    with np.load(CLIP) as z:
        return torch.from_numpy(z["emb"]).float()
