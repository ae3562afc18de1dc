"""Train a network for the benchmarks: `python -m benchmarks.train --dataset fashion-mnist --model resnet8`.

Leaves a safetensors file in benchmarks/weights and prints one JSON line with the accuracies in percent. All images and
their augmentation live on the device; on CUDA the forward pass runs in bfloat16.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.data import DATASETS, dataset, download
from benchmarks.networks import NETWORKS, network, weights
from worker.unlearning import SplitClassifier, accuracy

WARM_UP = 0.05  # share of the steps in which the rate rises


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: a rate that rises shortly and then falls to zero along a cosine."""

    optimiser: Literal["sgd", "adamw"] = "sgd"  # SGD with momentum 0.9
    lr: float = 0.1  # at its peak, per batch
    weight_decay: float = 5e-4
    batch: int = 128  # images
    epochs: int = 30
    pad: int = 2  # pixels by which a random crop may be shifted
    flip: bool = False  # mirrored half of the time


RECIPES = {  # those not listed take Recipe()
    # The paper's ResNet-18, in a minute of an accelerator; the peer (Cha et al., AAAI 2024) takes 200 epochs at 0.01.
    ("cifar10", "resnet18"): Recipe(lr=0.2, batch=512, epochs=60, pad=4, flip=True),
    ("fashion-mnist", "resnet8"): Recipe(epochs=5, pad=1, flip=True),
    ("fashion-mnist", "resnet20"): Recipe(flip=True),
    ("mnist", "resnet8"): Recipe(epochs=3),
    ("fashion-mnist", "vit"): Recipe(optimiser="adamw", lr=2e-3, weight_decay=0.05, epochs=8, pad=1, flip=True),
    ("mnist", "vit"): Recipe(optimiser="adamw", lr=2e-3, weight_decay=0.05, epochs=8),
}


def fit(model: SplitClassifier, images: Tensor, labels: Tensor, *, recipe: Recipe, rng: torch.Generator) -> None:
    """Train in place on uint8 images (N, C, H, W) with labels (N,), all on the device of the model."""
    padded = F.pad(images, [recipe.pad] * 4)
    optimiser = _optimiser(model, recipe)
    per_epoch = len(images) // recipe.batch
    steps = recipe.epochs * per_epoch
    model.train()
    for step in track(range(steps), "training", console=Console(stderr=True)):
        if step % per_epoch == 0:
            order = torch.randperm(len(images), generator=rng).to(labels.device)
        index = order[step % per_epoch * recipe.batch :][: recipe.batch]
        x = _augmented(padded[index], recipe, rng=rng)
        optimiser.param_groups[0]["lr"] = recipe.lr * _share(step, steps)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            loss = F.cross_entropy(model(x), labels[index])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    model.eval()


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)


def _share(step: int, steps: int) -> float:
    """Of the peak learning rate."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


def _augmented(padded: Tensor, recipe: Recipe, *, rng: torch.Generator) -> Tensor:
    """A random crop of each padded image, mirrored or not: uint8 (n, C, H + 2p, W + 2p) -> floats (n, C, H, W)."""
    n, c, h, w = padded.shape
    h, w = h - 2 * recipe.pad, w - 2 * recipe.pad
    top, left = (torch.randint(2 * recipe.pad + 1, (n, 1), generator=rng).to(padded.device) for _ in range(2))
    rows = torch.arange(h, device=padded.device) + top  # (n, H)
    columns = torch.arange(w, device=padded.device) + left  # (n, W)
    if recipe.flip:
        mirrored = (torch.rand(n, 1, generator=rng) < 0.5).to(padded.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    cropped = padded.gather(2, rows[:, None, :, None].expand(n, c, h, padded.shape[3]))
    cropped = cropped.gather(3, columns[:, None, None, :].expand(n, c, h, w))
    return (cropped.float() / 255).contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--model", choices=NETWORKS, default="resnet20")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch the images first")
    arguments = parser.parse_args()
    if arguments.download:
        download(arguments.dataset)
    data = dataset(arguments.dataset)
    recipe = RECIPES.get((arguments.dataset, arguments.model), Recipe())
    if arguments.epochs:
        recipe = Recipe(**(vars(recipe) | {"epochs": arguments.epochs}))
    torch.manual_seed(arguments.seed)  # the initial weights
    model = SplitClassifier(network(arguments.model, data), mean=data.mean, std=data.std)
    model.to(memory_format=torch.channels_last).to(arguments.device)

    train = data.train.everything().to(arguments.device)
    began = time.perf_counter()
    rng = torch.Generator().manual_seed(arguments.seed)
    fit(model, (train.images * 255).round().to(torch.uint8), train.labels, recipe=recipe, rng=rng)
    seconds = time.perf_counter() - began
    path = weights(arguments.model, arguments.dataset)
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.cpu().contiguous() for name, tensor in model.network.state_dict().items()}, path)
    test = data.test.everything().to(arguments.device)
    report = {"test_accuracy": accuracy(model, test), "train_accuracy": accuracy(model, train), "seconds": seconds}
    print(json.dumps({"weights": path.name, "epochs": recipe.epochs} | report))


if __name__ == "__main__":
    main()
