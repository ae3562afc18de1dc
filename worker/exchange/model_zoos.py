"""Models by the names that timm and torchvision give them, with published weights or somebody's own."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
import torchvision
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file

from worker.exchange import folders
from worker.exchange.imported_model import ImportedModel, Unsupported, allowed, safetensors_of


def timm_model(name: str, checkpoint: Path | None, work: Path, weights_name: str | None = None) -> ImportedModel:
    """`resnet18`, or with the tag of its weights `resnet18.a1_in1k`; from the hub, unless `checkpoint` has the weights.

    Raises:
        Unsupported: there is no such model, or it cannot be fetched.
    """
    architecture, _, tag = name.partition(".")
    network = allowed(f"timm/{architecture}")
    try:
        pretrained_cfg = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise Unsupported(f"timm knows no weights of the name {name}.") from error
    assert pretrained_cfg is not None  # every architecture of timm's on the allow-list has some
    config = asdict(pretrained_cfg)
    if checkpoint is None:
        if not config["hf_hub_id"]:
            raise Unsupported(f"There are no weights of {name} on the hub. --checkpoint takes some from a file.")
        model = hub(config["hf_hub_id"], work)
    else:
        description = {"architecture": network, "preprocessing": folders.preprocessing(config)}
        model = ImportedModel(safetensors_of(checkpoint, work / "model.safetensors", weights_name), description)
    # A tag names published weights. Without one, a checkpoint is somebody's own, and so are its classes.
    if checkpoint is None or tag:
        return ImportedModel(model.checkpoint, _imagenet(config["num_classes"]) | model.description)
    return model


def torchvision_model(name: str, checkpoint: Path | None, work: Path, weights_name: str | None = None) -> ImportedModel:
    """`resnet18`, or with its weights `resnet18.IMAGENET1K_V1`; downloaded, unless `checkpoint` has the weights.

    Raises:
        Unsupported: there is no such model, or it cannot be fetched.
    """
    architecture, _, tag = name.partition(".")
    network = allowed(f"torchvision/{architecture}")
    weights_enum = torchvision.models.get_model_weights(architecture)
    try:
        weights = weights_enum[tag or "DEFAULT"]
    except KeyError as error:
        raise Unsupported(
            f"torchvision/{architecture} has the weights {', '.join(weights_enum.__members__)}."
        ) from error
    transforms = weights.transforms()
    description = {
        "architecture": network,
        "preprocessing": {
            "size": [transforms.crop_size[0]] * 2,
            "mean": list(transforms.mean),
            "std": list(transforms.std),
            "resize": "crop",
            "crop_pct": transforms.crop_size[0] / transforms.resize_size[0],
            "interpolation": transforms.interpolation.value,
        },
    }
    published = {"classes": weights.meta["categories"]}
    target = work / "model.safetensors"
    if checkpoint is not None:
        own = safetensors_of(checkpoint, target, weights_name)
        return ImportedModel(own, description | (published if tag else {}))
    _rename_tensors(architecture, safetensors_of(_download(weights.url), target), len(published["classes"]))
    return ImportedModel(target, description | published)


def hub(repository: str, work: Path) -> ImportedModel:
    """A repository of the Hugging Face hub, `owner/name` or `owner/name@revision`.

    Raises:
        Unsupported: it cannot be fetched, or holds nothing that we know.
    """
    name, _, revision = repository.partition("@")
    try:
        folder = snapshot_download(name, revision=revision or None, allow_patterns=list(folders.FILES))
    except Exception as error:
        reason = f"{repository} cannot be fetched from the Hugging Face hub: {type(error).__name__}."
        raise Unsupported(f"{reason} With timm/NAME, --checkpoint takes weights from a file.") from error
    return folders.read(Path(folder), work)


def _download(url: str) -> Path:
    """The file at `url`, in torch's own cache; its name ends with the beginning of its SHA-256."""
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        digest = cached.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise Unsupported(f"{url} cannot be fetched. --checkpoint takes weights from a file.") from error
    return cached


def _rename_tensors(architecture: str, checkpoint: Path, num_classes: int) -> None:
    """Rewrite published weights with current tensor names: those of DenseNet and ViT are older than their code."""
    network = torchvision.models.get_model(architecture, weights=None, num_classes=num_classes)
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
    network.load_state_dict({old.sub(r"\1\2", name): tensor for name, tensor in load_file(checkpoint).items()})
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, checkpoint)


def _imagenet(num_classes: int) -> dict[str, Any]:
    """Class names for published weights of timm, which are in the order of torchvision's."""
    if num_classes != 1000:
        return {}
    return {"classes": torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]}
