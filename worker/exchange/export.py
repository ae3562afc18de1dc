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

# Networks of torchvision that are equal to timm's of the same name, tensor by tensor.
_SAME_IN_TIMM = ("resnet18", "resnet34", "resnet50", "resnet101", "densenet121")
_CROP_MODES = {"stretch": "squash", "crop": "center"}
_VERSION_FIELDS = ("architecture", "classes", "preprocessing", "attributes")
_ORIGIN_FIELDS = ("model", "number", "parent", "sha256", "method", "gate", "metrics")
# Fields of timm's pretrained_cfg about the network, not about the weights that timm publishes for it.
_NETWORK_FIELDS = ("architecture", "input_size", "fixed_input_size", "pool_size", "first_conv", "classifier")


def export(version: dict[str, Any], checkpoint: Path, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, the very bytes of the checkpoint, to a new folder.

    `version` is the service's answer about it. Raises Unsupported when timm would compute something else.
    """
    about = {
        "label_names": version["classes"],
        "structguard": {
            "registered": {name: version[name] for name in _VERSION_FIELDS},
            "version": {name: version[name] for name in _ORIGIN_FIELDS},
        },
    }
    name = version["architecture"]["name"]
    library, _, short = name.rpartition("/")
    folder.mkdir(parents=True)
    if library == "timm" or (library == "torchvision" and short in _SAME_IN_TIMM):
        _for_timm(short, version, checkpoint, folder, about)
    else:  # a name that timm does not know, rather than one of a network that is like it
        config = {"architecture": name, "num_classes": len(version["classes"])} | about
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(checkpoint, folder / "model.safetensors")


def _for_timm(name: str, version: dict[str, Any], checkpoint: Path, folder: Path, about: dict[str, Any]) -> None:
    architecture = Architecture.model_validate(version["architecture"])
    preprocessing = Preprocessing.model_validate(version["preprocessing"])
    count, shape = len(version["classes"]), (architecture.in_channels, *preprocessing.size)
    arguments: dict[str, Any] = {"img_size": preprocessing.size} if architecture.name in architectures.SIZED else {}
    timm_network = timm.create_model(
        name, checkpoint_path=checkpoint, num_classes=count, in_chans=architecture.in_channels, **arguments
    )
    own_network = architectures.load(architecture, checkpoint, num_classes=count, image_size=preprocessing.size)
    if not same_logits(own_network, timm_network, shape):
        raise Unsupported(f"timm's {name} computes something else with these weights.")
    # A plain attribute of what is declared as a module.
    pretrained_cfg: dict[str, Any] = timm_network.__dict__["pretrained_cfg"]
    timm_network.__dict__["pretrained_cfg"] = {
        key: pretrained_cfg[key] for key in _NETWORK_FIELDS if key in pretrained_cfg
    }
    data_config = {
        "input_size": shape,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": preprocessing.interpolation,
        "crop_mode": _CROP_MODES[preprocessing.resize],
        "crop_pct": preprocessing.crop_pct if preprocessing.resize == "crop" else 1.0,
    }
    save_for_hf(timm_network, str(folder), model_config=about, data_config=data_config, safe_serialization=True)
