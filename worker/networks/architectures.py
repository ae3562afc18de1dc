"""The networks themselves: build one from its name, fill it from a checkpoint, write it to one.

`python -m worker.networks` writes service/registry/models/architectures.json, by which the service validates uploads.
"""

import errno
import itertools
import json
import os
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from service.registry.models.architectures import MANIFEST, STEP_COUNTER, Architecture, Shapes
from worker.networks.cifar_resnet import cifar_resnet

OURS = [f"cifar_resnet{depth}" for depth in (8, 20, 32, 44, 56, 110)]
CONVOLUTIONAL = [  # any image size that leaves at least one pixel in the last layer
    *("torchvision/resnet18", "torchvision/resnet34", "torchvision/resnet50", "torchvision/resnet101"),
    *("torchvision/mobilenet_v3_small", "torchvision/efficientnet_b0", "torchvision/convnext_tiny"),
    *("torchvision/densenet121", "torchvision/regnet_y_400mf", "torchvision/swin_t"),  # this Swin pads what it is given
    *("timm/resnet18", "timm/resnet50", "timm/resnet26d", "timm/convnext_nano"),
    *("timm/efficientnet_b0", "timm/mobilenetv3_small_100"),
]
PATCHES = {  # the side of a patch in pixels: the position embedding has one row for each patch
    "torchvision/vit_b_16": 16,
    "torchvision/vit_b_32": 32,
    "timm/vit_tiny_patch16_224": 16,
    "timm/vit_small_patch16_224": 16,
    "timm/deit_small_patch16_224": 16,
}
SWIN = "timm/swin_tiny_patch4_window7_224"  # any size, but below 224 pixels its windows, hence its shapes, shrink
SIZED = {SWIN, *(name for name in PATCHES if name.startswith("timm/"))}  # those that timm builds for one image size


def build(architecture: Architecture, *, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """The network with random weights, in training mode, on the default device. Downloads nothing.

    `num_classes` counts the outputs of the last layer; `image_size` is (height, width) in pixels, one that
    `expected_tensors` accepts for this architecture.
    """
    library, _, name = architecture.name.rpartition("/")
    options: dict[str, Any] = {"num_classes": num_classes}
    network: nn.Module
    if library == "torchvision":
        if architecture.name in PATCHES:
            options["image_size"] = image_size[0]
        network = torchvision.models.get_model(name, weights=None, **options)
    elif library == "timm":
        if architecture.name in SIZED:
            options["img_size"] = image_size
        network = timm.create_model(name, pretrained=False, in_chans=architecture.in_channels, **options)
    else:
        network = cifar_resnet(int(name.removeprefix("cifar_resnet")), in_channels=architecture.in_channels, **options)
    return network


def load(architecture: Architecture, path: Path, *, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """The network with the weights of a safetensors file, in float32 whatever the file holds, in evaluation mode.

    Raises torch's RuntimeError, which names the tensors, when the file does not fit.
    """
    network = build(architecture, num_classes=num_classes, image_size=image_size)
    counters = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(STEP_COUNTER)}
    network.load_state_dict(counters | load_file(path))
    return network.eval()


def save(network: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write every weight and buffer to a safetensors file, and return once the bytes are on the disk.

    `metadata` ends up in the file's header. safetensors writes it in no fixed order: with more than one entry, equal
    weights need not give equal bytes.
    """
    # A copy of each tensor: contiguous, as the format wants it, and sharing memory with no other.
    tensors = {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in network.state_dict().items()
    }
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        if f"(os error {errno.ENOSPC})" in str(error):  # it says so in its text alone
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    with path.open("rb") as file:
        os.fsync(file.fileno())


def manifest() -> dict[str, Shapes]:
    """Every allowed architecture with its tensors, found by building each with several settings and comparing."""
    return {name: _shapes(name) for name in [*OURS, *CONVOLUTIONAL, *PATCHES, SWIN]}


def _shapes(name: str) -> Shapes:
    patch, any_channels = PATCHES.get(name), not name.startswith("torchvision/")
    plain = _network(name).state_dict()
    variants = {"classes": _network(name, classes=13).state_dict()}
    if any_channels:
        variants["channels"] = _network(name, channels=5).state_dict()
    if patch:
        variants["tokens"] = _network(name, side=448).state_dict()

    def symbolic(key: str, tensor: torch.Tensor) -> tuple[int | str, ...]:
        # A dimension that another setting changes is called by that setting's name.
        return tuple(
            next((symbol for symbol, state in variants.items() if state[key].shape[axis] != n), n)
            for axis, n in enumerate(tensor.shape)
        )

    return Shapes.model_validate(
        {
            "any_channels": any_channels,
            "least": patch or (224 if name == SWIN else _least(name)),
            "multiple": patch or 1,
            "square": name.startswith("torchvision/vit_"),
            "patch": patch,
            "floats": {key: symbolic(key, t) for key, t in plain.items() if t.is_floating_point()},
            "integers": {key: tuple(t.shape) for key, t in plain.items() if not t.is_floating_point()},
        }
    )


def _least(name: str) -> int:
    """The smallest side, from 8 pixels, at which a forward pass leaves something to pool. It depends on no weight."""
    network = _network(name).eval()
    for side in itertools.count(8):
        try:
            network(torch.empty(1, 3, side, side, device="meta"))
        except RuntimeError:
            continue
        return side
    raise AssertionError


def _network(name: str, *, classes: int = 11, channels: int = 3, side: int = 224) -> nn.Module:
    # The allow-list is what is being written here, so it cannot be asked.
    architecture = Architecture.model_construct(name=name, in_channels=channels)
    # On the meta device a network has shapes and no memory. RegNet computes its widths with tensors, which need values.
    with torch.device("cpu" if "regnet" in name else "meta"):
        return build(architecture, num_classes=classes, image_size=(side, side)).to("meta")


def main() -> None:
    """Write the manifest, one line per architecture."""
    lines = [f"{json.dumps(name)}:{shapes.model_dump_json()}" for name, shapes in manifest().items()]
    MANIFEST.write_text("{\n" + ",\n".join(lines) + "\n}\n")
