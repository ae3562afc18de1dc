"""The networks of the benchmarks: published where there are weights, otherwise trained by `benchmarks.train`."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

from benchmarks import cifar10
from benchmarks.data import Dataset
from worker import digits
from worker.networks.cifar_resnet import cifar_resnet
from worker.unlearning import SplitClassifier

WEIGHTS = Path(__file__).with_name("weights")
NETWORKS = ("resnet8", "resnet20", "resnet56", "resnet18", "vit")


def network(name: str, data: Dataset) -> nn.Module:
    """A network by its name in NETWORKS, with random weights."""
    classes, channels = len(data.classes), len(data.mean)
    built: nn.Module
    if name == "resnet18":
        # As in the peer's code, with whose 92.59 % the paper's tables begin: a 3×3 convolution before the max-pooling.
        built = torchvision.models.resnet18(num_classes=classes)
        built.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
    elif name == "vit":
        patch = data.side // 4  # 16 tokens and the one that is classified
        built = torchvision.models.VisionTransformer(
            image_size=data.side,
            patch_size=patch,
            num_layers=4,
            num_heads=4,
            hidden_dim=96,
            mlp_dim=192,
            num_classes=classes,
        )
        built.conv_proj = nn.Conv2d(channels, 96, patch, patch)
    else:
        built = cifar_resnet(int(name.removeprefix("resnet")), num_classes=classes, in_channels=channels)
    return built


def weights(name: str, dataset: str) -> Path:
    """Where `benchmarks.train` leaves a network and `classifier` looks for it."""
    return WEIGHTS / f"{dataset}-{name}.safetensors"


def classifier(name: str, data: Dataset) -> SplitClassifier:
    """The trained network, in eval mode. Raises FileNotFoundError if it has not been trained yet."""
    if data.name == "cifar10" and name in ("resnet20", "resnet56"):
        return cifar10.resnet(int(name.removeprefix("resnet")))
    if data.name == "digits" and name == "resnet8":  # trained in seconds, and the same each time
        everything = data.train.everything()
        x = (everything.images - torch.tensor(data.mean)) / torch.tensor(data.std)
        return SplitClassifier(digits.train(x, everything.labels, seed=0), mean=data.mean, std=data.std).eval()
    path = weights(name, data.name)
    if not path.exists():
        raise FileNotFoundError(f"no {path.name}: run python -m benchmarks.train --dataset {data.name} --model {name}")
    built = network(name, data)
    built.load_state_dict(load_file(path))
    return SplitClassifier(built, mean=data.mean, std=data.std).eval()
