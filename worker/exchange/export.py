"""A registered version as a folder for the Hugging Face hub, which timm loads where it has the network."""

import json
import shutil
from pathlib import Path
from typing import Any

import timm
from timm.models import save_for_hf

from service.registry.models.architectures import Architecture
from service.registry.models.preprocessing import Preprocessing
from worker.exchange.folders import same_logits
from worker.exchange.imported_model import Unsupported
from worker.networks import architectures

# These of torchvision are timm's too, tensor by tensor.
_TWINS = ("resnet18", "resnet34", "resnet50", "resnet101", "densenet121")
_CROP_MODES = {"stretch": "squash", "crop": "center"}
_REGISTERED = ("architecture", "classes", "preprocessing", "attributes")
_ORIGIN = ("model", "number", "parent", "sha256", "method", "gate", "metrics")
# What timm says of a network, and not of the weights that it has itself published for it.
_OF_THE_NETWORK = ("architecture", "input_size", "fixed_input_size", "pool_size", "first_conv", "classifier")


def export(version: dict[str, Any], checkpoint: Path, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, the very bytes of the checkpoint, to a new folder.

    `version` is the service's answer about it. Raises Unsupported when timm would compute something else.
    """
    about = {
        "label_names": version["classes"],
        "structguard": {
            "registered": {name: version[name] for name in _REGISTERED},
            "version": {name: version[name] for name in _ORIGIN},
        },
    }
    name = version["architecture"]["name"]
    library, _, short = name.rpartition("/")
    folder.mkdir(parents=True)
    if library == "timm" or (library == "torchvision" and short in _TWINS):
        _for_timm(short, version, checkpoint, folder, about)
    else:  # a name that timm does not know, rather than one of a network that is like it
        config = {"architecture": name, "num_classes": len(version["classes"])} | about
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(checkpoint, folder / "model.safetensors")


def _for_timm(name: str, version: dict[str, Any], checkpoint: Path, folder: Path, about: dict[str, Any]) -> None:
    architecture = Architecture.model_validate(version["architecture"])
    images = Preprocessing.model_validate(version["preprocessing"])
    count, shape = len(version["classes"]), (architecture.in_channels, *images.size)
    arguments: dict[str, Any] = {"img_size": images.size} if architecture.name in architectures.SIZED else {}
    theirs = timm.create_model(
        name, checkpoint_path=checkpoint, num_classes=count, in_chans=architecture.in_channels, **arguments
    )
    ours = architectures.load(architecture, checkpoint, num_classes=count, image_size=images.size)
    if not same_logits(ours, theirs, shape):
        raise Unsupported(f"timm's {name} computes something else with these weights.")
    # A plain attribute of what is declared as a module.
    known: dict[str, Any] = theirs.__dict__["pretrained_cfg"]
    theirs.__dict__["pretrained_cfg"] = {key: known[key] for key in _OF_THE_NETWORK if key in known}
    prepared = {
        "input_size": shape,
        "mean": images.mean,
        "std": images.std,
        "interpolation": images.interpolation,
        "crop_mode": _CROP_MODES[images.resize],
        "crop_pct": images.crop_pct if images.resize == "crop" else 1.0,
    }
    save_for_hf(theirs, str(folder), model_config=about, data_config=prepared, safe_serialization=True)
