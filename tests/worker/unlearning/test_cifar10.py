"""The whole method on real images and published weights, where they are at hand."""

import dataclasses
import io
import os
from pathlib import Path

import pytest
import torch

from worker.cifar_resnet import cifar_resnet
from worker.unlearning import DEFAULT, Batch, SplitClassifier, accuracy, forget_accuracy, unlearn

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[3] / "../shared/data"))

pytestmark = pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason=f"no CIFAR-10 in {DATA}")


def images(shard, index):
    """Decode the images at `index` of one shard of lossless WebP files."""
    numpy, image = pytest.importorskip("numpy"), pytest.importorskip("PIL.Image")
    with numpy.load(DATA / "cifar10" / f"{shard}.npz") as z:
        webp, offsets, labels = z["webp"], z["offsets"], z["labels"]
    files = [io.BytesIO(webp[offsets[i] : offsets[i + 1]].tobytes()) for i in index]
    pixels = [torch.frombuffer(bytearray(image.open(f).convert("RGB").tobytes()), dtype=torch.uint8) for f in files]
    stacked = torch.stack(pixels).view(-1, 32, 32, 3).permute(0, 3, 1, 2) / 255
    return Batch(stacked.contiguous(), torch.tensor([int(labels[i]) for i in index]))


def test_sixteen_images_are_forgotten_and_the_test_accuracy_stays():
    network = cifar_resnet(20, 10)
    published = torch.load(DATA / "weights" / "resnet20-12fca82f.th", weights_only=True, map_location="cpu")
    weights = {name.removeprefix("module."): t for name, t in published["state_dict"].items()}
    network.load_state_dict(weights, strict=False)  # published before BatchNorm counted its batches
    model = SplitClassifier(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).eval()
    chosen = torch.randperm(12_500, generator=torch.Generator().manual_seed(102))[:16].tolist()
    forget, test = images("train-0", chosen), images("test", range(2000))
    before = accuracy(model, test)
    config = dataclasses.replace(DEFAULT, mixup=768, cutmix=768, dead_leaves=512)  # half the pool, for speed
    list(unlearn(model, forget, anchors=None, config=config, rng=torch.Generator().manual_seed(102)))
    assert before > 91
    assert forget_accuracy(model, forget) == 100.0
    assert before - accuracy(model, test) <= 1.5
