"""Folders of the Hugging Face hub: `config.json` beside weights, written by timm, transformers or our export."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import nn

from service.registry.models.architectures import Architecture
from worker.exchange import transformers_models
from worker.exchange.imported_model import ImportedModel, Unsupported, allowed, safetensors_of
from worker.networks import architectures

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
FILES = ("config.json", "preprocessor_config.json", *WEIGHTS)
_CROPS = {"center": "crop", None: "crop", "squash": "stretch"}
_NOT_OF_A_NETWORK = ("cache_dir", "checkpoint_path")  # arguments of timm with which it reads other files
_TOLERANCE = 1e-4  # of logits; the same network computes the same to the bit, mostly


def read(folder: Path, work: Path, weights_name: str | None = None) -> ImportedModel:
    """Import the model of a folder; converted weights, those of this name, are written to `work`.

    Raises:
        Unsupported: the folder lacks a file, or holds a model that we do not know.
    """
    config = _json(folder / "config.json")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise Unsupported(f"{folder} holds no {' or '.join(WEIGHTS)}.")
    checkpoint = safetensors_of(weights, work / "model.safetensors", weights_name)
    try:
        return _described(config, folder, checkpoint)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise Unsupported(f"{folder} is not whole, or not described as timm or transformers do it.") from error


def _described(config: dict[str, Any], folder: Path, checkpoint: Path) -> ImportedModel:
    if "structguard" in config:  # written by worker.exchange.export
        return ImportedModel(checkpoint, dict(config["structguard"]["registered"]))
    if "architecture" in config:
        return _timm(config, checkpoint)
    if "model_type" in config:
        processor = folder / "preprocessor_config.json"
        return transformers_models.read(config, _json(processor) if processor.is_file() else {}, checkpoint)
    raise Unsupported("config.json has neither timm's `architecture` nor the `model_type` of transformers.")


def preprocessing(config: dict[str, Any]) -> dict[str, Any]:
    """A new version's preprocessing from timm's `pretrained_cfg`.

    Raises:
        Unsupported: images are prepared in a way that this service does not have.
    """
    mode, crop_pct = config.get("crop_mode"), config.get("crop_pct") or 0.875  # timm's own default
    if mode not in _CROPS or (mode == "squash" and crop_pct != 1):
        raise Unsupported(f"Images are prepared by crop_mode {mode} with crop_pct {crop_pct}, which is not supported.")
    prepared = {
        "size": list(config["input_size"][1:]),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config.get("interpolation", "bicubic"),
        "resize": _CROPS[mode],
    }
    return prepared | ({"crop_pct": crop_pct} if mode != "squash" else {})


def same_logits(first: nn.Module, second: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether two networks answer the same to two images of noise of this shape (C, H, W)."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.allclose(first.eval()(images), second.eval()(images), rtol=_TOLERANCE, atol=_TOLERANCE)


def _timm(config: dict[str, Any], checkpoint: Path) -> ImportedModel:
    pretrained_cfg = config.get("pretrained_cfg", config)  # older files have one level
    arguments = config.get("model_args", {})
    channels, *size = pretrained_cfg.get("input_size", (3, 224, 224))
    channels = arguments.get("in_chans", channels)
    if image_size := arguments.get("img_size"):
        size = [image_size, image_size] if isinstance(image_size, int) else image_size
    classes = config.get("label_names") or pretrained_cfg.get("label_names") or pretrained_cfg.get("labels")
    if isinstance(classes, dict):  # by the position, as JSON has it: a text
        classes = [classes[key] for key in sorted(classes, key=int)]
    network = allowed(f"timm/{config['architecture']}", channels)
    description = {
        "architecture": network,
        "preprocessing": preprocessing(pretrained_cfg | {"input_size": [channels, *size]}),
    }
    count = config.get("num_classes") or pretrained_cfg["num_classes"]
    _check(config, Architecture.model_validate(network), checkpoint, num_classes=count, image_size=(size[0], size[1]))
    return ImportedModel(checkpoint, description | ({"classes": list(classes)} if classes else {}))


def _check(config: dict[str, Any], network: Architecture, checkpoint: Path, **shape: Any) -> None:
    """Compare logits with timm's network: model_args may change what it computes without changing a shape."""
    arguments = {"num_classes": shape["num_classes"]} | config.get("model_args", {})
    if any(name in _NOT_OF_A_NETWORK or name.startswith("pretrained") for name in arguments):
        raise Unsupported("model_args must not say where weights are.")
    try:
        timm_network = timm.create_model(config["architecture"], checkpoint_path=checkpoint, **arguments)
        own_network = architectures.load(network, checkpoint, **shape)
    except (RuntimeError, TypeError, ValueError) as error:
        raise Unsupported("The weights do not fit the network that config.json describes.") from error
    if not same_logits(timm_network, own_network, (network.in_channels, *shape["image_size"])):
        raise Unsupported(f"With these model_args, {network.name} is another network than the one on the allow-list.")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unsupported(f"{path} is not there, or no JSON.") from error
    if not isinstance(document, dict):
        raise Unsupported(f"{path} holds no JSON object.")
    return document
