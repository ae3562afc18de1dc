"""An exported folder loads in timm and answers like the version it is of; where it cannot, it does not pretend to."""

import json

import pytest
import timm
import torch

from service.registry.models.architectures import Architecture
from worker.exchange import folders
from worker.exchange.export import export
from worker.networks import architectures

CLASSES = ["cat", "dog", "bird"]


def version(name, size, channels=3, **prepared):
    """As the service answers about it."""
    images = {"size": list(size), "mean": [0.5] * channels, "std": [0.25] * channels, "resize": "stretch"}
    return {
        "model": "pets",
        "number": 2,
        "parent": 1,
        "sha256": "0" * 64,
        "method": "structguard",
        "gate": "passed",
        "metrics": {"after": {"forget_accuracy": 100.0}},
        "architecture": {"name": name, "in_channels": channels},
        "classes": CLASSES,
        "preprocessing": images | {"crop_pct": 1.0, "interpolation": "bilinear"} | prepared,
        "attributes": {"cat": ["whiskers"]},
    }


@pytest.fixture
def checkpoint(tmp_path):
    """Writes random weights of a version; the network and the file."""

    def write(described):
        torch.manual_seed(0)
        network = architectures.build(
            Architecture.model_validate(described["architecture"]),
            num_classes=3,
            image_size=tuple(described["preprocessing"]["size"]),
        ).eval()
        architectures.save(network, tmp_path / "a.safetensors", {"request": "r1"})
        return network, tmp_path / "a.safetensors"

    return write


@pytest.mark.parametrize(
    "described",
    [
        version("timm/resnet18", (40, 48), 1, resize="crop", crop_pct=0.875, interpolation="bicubic"),
        version("timm/vit_tiny_patch16_224", (32, 64)),
        version("timm/mobilenetv3_small_100", (64, 64)),
        version("torchvision/resnet18", (33, 33)),
        version("torchvision/densenet121", (64, 64)),
    ],
    ids=lambda described: described["architecture"]["name"],
)
def test_timm_loads_the_folder_and_answers_the_same(tmp_path, checkpoint, described):
    network, file = checkpoint(described)

    export(described, file, tmp_path / "exported")

    loaded = timm.create_model(f"local-dir:{tmp_path / 'exported'}", pretrained=True).eval()
    images = torch.randn(2, described["architecture"]["in_channels"], *described["preprocessing"]["size"])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), network(images))
    assert (tmp_path / "exported" / "model.safetensors").read_bytes() == file.read_bytes()
    prepared, wanted = timm.data.resolve_model_data_config(loaded), described["preprocessing"]
    assert list(prepared["input_size"][1:]) == wanted["size"]
    assert (list(prepared["mean"]), list(prepared["std"])) == (wanted["mean"], wanted["std"])
    assert prepared["interpolation"] == wanted["interpolation"]
    assert (prepared["crop_mode"], prepared["crop_pct"]) == (
        {"crop": "center", "stretch": "squash"}[wanted["resize"]],
        wanted["crop_pct"],
    )
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["label_names"] == CLASSES
    assert not config["pretrained_cfg"].keys() & {"tag", "license", "url", "hf_hub_id", "paper_ids", "origin_url"}


@pytest.mark.parametrize("name", ["cifar_resnet8", "torchvision/mobilenet_v3_small"])
def test_a_network_that_timm_does_not_have_keeps_its_own_name(tmp_path, checkpoint, name):
    described = version(name, (32, 32))
    _, file = checkpoint(described)

    export(described, file, tmp_path / "exported")

    assert json.loads((tmp_path / "exported" / "config.json").read_text())["architecture"] == name
    with pytest.raises(RuntimeError, match="Unknown model"):
        timm.create_model(f"local-dir:{tmp_path / 'exported'}", pretrained=True)


@pytest.mark.parametrize("name", ["cifar_resnet8", "torchvision/resnet18", "timm/resnet18"])
def test_what_was_exported_is_imported_as_it_was(tmp_path, checkpoint, name):
    described = version(name, (32, 32))
    _, file = checkpoint(described)
    export(described, file, tmp_path / "exported")
    (tmp_path / "work").mkdir()

    found = folders.read(tmp_path / "exported", tmp_path / "work")

    assert found.description == {
        key: described[key] for key in ("architecture", "classes", "preprocessing", "attributes")
    }
    assert found.checkpoint.read_bytes() == file.read_bytes()
