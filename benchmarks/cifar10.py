"""Real CIFAR-10 with published ResNets and CLIP's class embeddings, for benchmarks and for tests.

They lie in the folder that STRUCTGUARD_DATA names, under `cifar10/` (lossless WebP in npz), `weights/` and `clip/`.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from worker.networks.cifar_resnet import cifar_resnet
from worker.unlearning import Batch, SplitClassifier

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[2] / "shared" / "data"))
PUBLISHED = {  # akamaster/pytorch_resnet_cifar10: 91.73 % and 93.39 % on the test images
    20: DATA / "weights" / "resnet20-12fca82f.th",
    56: DATA / "weights" / "resnet56-4bfd9763.th",
}
RESNET20 = PUBLISHED[20]
CLIP = DATA / "clip" / "clip_vitb32_text_cifar10.npz"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the published networks were trained
SHARDS = {"train": [f"train-{shard}" for shard in range(4)], "test": ["test"]}


def labels(part: str) -> np.ndarray:
    """Labels of all images of the part, "train" or "test": int64 (N,)."""
    return np.concatenate([_array(name, "labels") for name in SHARDS[part]]).astype(np.int64)


def pictures(part: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """The images of the part at these indices, in this order: uint8 (N, 32, 32, 3)."""
    positions = np.asarray(indices, dtype=np.int64)
    images = np.empty((len(positions), 32, 32, 3), dtype=np.uint8)
    first = 0
    for name in SHARDS[part]:
        offsets = _array(name, "offsets")
        in_shard = np.flatnonzero((first <= positions) & (positions < first + len(offsets) - 1))
        webp = _array(name, "webp")
        for i, index in zip(in_shard, positions[in_shard] - first, strict=True):
            file = io.BytesIO(webp[offsets[index] : offsets[index + 1]].tobytes())
            images[i] = np.asarray(Image.open(file).convert("RGB"))
        first += len(offsets) - 1
    return images


def first_test_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first test images: uint8 (N, 32, 32, 3) and labels (N,)."""
    return pictures("test", range(count)), labels("test")[:count]


def forget_set(k: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`k` random training images, the same for every run with this seed: uint8 (k, 32, 32, 3) and labels (k,)."""
    chosen = torch.randperm(50_000, generator=torch.Generator().manual_seed(seed))[:k].numpy()
    return pictures("train", chosen), labels("train")[chosen]


def batch(images: np.ndarray, labels: np.ndarray) -> Batch:
    """uint8 (N, H, W, C) and labels (N,) -> a batch with floats (N, C, H, W) in [0, 1]."""
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels))


def resnet(depth: int) -> SplitClassifier:
    """The published network of that depth, in eval mode."""
    network = cifar_resnet(depth, num_classes=10)
    published = torch.load(PUBLISHED[depth], weights_only=True, map_location="cpu")
    weights = {name.removeprefix("module."): tensor for name, tensor in published["state_dict"].items()}
    network.load_state_dict(weights, strict=False)  # published before BatchNorm counted its batches
    return SplitClassifier(network, mean=MEAN, std=STD).eval()


def resnet20() -> SplitClassifier:
    """The published ResNet-20."""
    return resnet(20)


def clip_anchors() -> torch.Tensor:
    """CLIP ViT-B/32's embeddings of the class names, (10, 512)."""
    with np.load(CLIP) as z:
        return torch.from_numpy(z["emb"]).float()


def _array(shard: str, key: str) -> np.ndarray:
    with np.load(DATA / "cifar10" / f"{shard}.npz") as z:
        array: np.ndarray = z[key]
        return array
