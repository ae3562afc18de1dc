"""Folders as the Hugging Face hub has them: `config.json` beside the weights, by timm, by transformers, or by us."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import nn

from service.registry.models.architectures import Architecture
from worker.exchange import transformers_models
from worker.exchange.imported_model import Found, Unsupported, allowed, safetensors_of
from worker.networks import architectures

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
FILES = ("config.json", "preprocessor_config.json", *WEIGHTS)
_CROPS = {"center": "crop", None: "crop", "squash": "stretch"}
_NOT_OF_A_NETWORK = ("cache_dir", "checkpoint_path")  # arguments of timm with which it reads other files
_TOLERANCE = 1e-4  # of logits; the same network computes the same to the bit, mostly


def read(folder: Path, work: Path) -> Found:
    """The model of a folder; what is written goes to `work`.

    Raises:
        Unsupported: the folder lacks a file, or holds a model that we do not know.
    """
    config = _json(folder / "config.json")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise Unsupported(f"{folder} holds no {' or '.join(WEIGHTS)}.")
    checkpoint = safetensors_of(weights, work / "model.safetensors")
    try:
        return _described(config, folder, checkpoint)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise Unsupported(f"{folder} is not whole, or not described as timm or transformers do it.") from error


def _described(config: dict[str, Any], folder: Path, checkpoint: Path) -> Found:
    if "structguard" in config:  # written by worker.exchange.export
        return Found(checkpoint, dict(config["structguard"]["registered"]))
    if "architecture" in config:
        return _timm(config, checkpoint)
    if "model_type" in config:
        processor = folder / "preprocessor_config.json"
        return transformers_models.read(config, _json(processor) if processor.is_file() else {}, checkpoint)
    raise Unsupported("config.json has neither timm's `architecture` nor the `model_type` of transformers.")


def preprocessing(config: dict[str, Any]) -> dict[str, Any]:
    """What timm's `pretrained_cfg` says of images, as a new version has it.

    Raises:
        Unsupported: images are prepared in a way that this service does not have.
    """
    mode, share = config.get("crop_mode"), config.get("crop_pct") or 0.875  # timm's own default
    if mode not in _CROPS or (mode == "squash" and share != 1):
        raise Unsupported(f"Images are prepared by crop_mode {mode} with crop_pct {share}, which is not supported.")
    said = {
        "size": list(config["input_size"][1:]),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config.get("interpolation", "bicubic"),
        "resize": _CROPS[mode],
    }
    return said | ({"crop_pct": share} if mode != "squash" else {})


def same_logits(first: nn.Module, second: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether two networks answer the same to two images of noise of this shape (C, H, W)."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.allclose(first.eval()(images), second.eval()(images), rtol=_TOLERANCE, atol=_TOLERANCE)


def _timm(config: dict[str, Any], checkpoint: Path) -> Found:
    about = config.get("pretrained_cfg", config)  # older files have one level
    arguments = config.get("model_args", {})
    channels, *size = about.get("input_size", (3, 224, 224))
    channels = arguments.get("in_chans", channels)
    if given := arguments.get("img_size"):
        size = [given, given] if isinstance(given, int) else given
    classes = config.get("label_names") or about.get("label_names") or about.get("labels")
    if isinstance(classes, dict):  # by the position, as JSON has it: a text
        classes = [classes[key] for key in sorted(classes, key=int)]
    network = allowed(f"timm/{config['architecture']}", channels)
    said = {"architecture": network, "preprocessing": preprocessing(about | {"input_size": [channels, *size]})}
    count = config.get("num_classes") or about["num_classes"]
    _check(config, Architecture.model_validate(network), checkpoint, num_classes=count, image_size=(size[0], size[1]))
    return Found(checkpoint, said | ({"classes": list(classes)} if classes else {}))


def _check(config: dict[str, Any], network: Architecture, checkpoint: Path, **shape: Any) -> None:
    """Other arguments of a model may change what it computes, and not one shape; so both are asked."""
    arguments = {"num_classes": shape["num_classes"]} | config.get("model_args", {})
    if any(name in _NOT_OF_A_NETWORK or name.startswith("pretrained") for name in arguments):
        raise Unsupported("model_args must not say where weights are.")
    try:
        theirs = timm.create_model(config["architecture"], checkpoint_path=checkpoint, **arguments)
        ours = architectures.load(network, checkpoint, **shape)
    except (RuntimeError, TypeError, ValueError) as error:
        raise Unsupported("The weights do not fit the network that config.json describes.") from error
    if not same_logits(theirs, ours, (network.in_channels, *shape["image_size"])):
        raise Unsupported(f"With these model_args, {network.name} is another network than the one on the allow-list.")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unsupported(f"{path} is not there, or no JSON.") from error
    if not isinstance(document, dict):
        raise Unsupported(f"{path} holds no JSON object.")
    return document
