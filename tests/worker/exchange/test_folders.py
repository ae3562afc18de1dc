"""What timm and transformers have saved comes out as the same network, or not at all."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf
from transformers import (
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from service.registry.models.architectures import Architecture, expected_tensors
from service.registry.models.checkpoint_files import inspect
from worker.exchange import folders
from worker.exchange.imported_model import Unsupported
from worker.networks import architectures

CLASSES = ["cat", "dog", "bird"]


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def registered(found):
    """The network, as a worker would load what the service has accepted."""
    architecture = Architecture.model_validate(found.description["architecture"])
    shape = {"num_classes": len(CLASSES), "image_size": tuple(found.description["preprocessing"]["size"])}
    inspect(found.checkpoint, expected_tensors(architecture, **shape))
    return architectures.load(architecture, found.checkpoint, **shape)


def noise(found):
    torch.manual_seed(1)
    return torch.randn(2, found.description["architecture"]["in_channels"], *found.description["preprocessing"]["size"])


@pytest.mark.parametrize(
    ("name", "arguments", "images"),
    [
        ("resnet18", {"in_chans": 1}, {"input_size": (1, 48, 64), "mean": (0.5,), "std": (0.2,), "crop_pct": 0.9}),
        ("vit_tiny_patch16_224", {"img_size": (32, 64)}, {"crop_pct": 1.0, "crop_mode": "squash"}),
    ],
)
def test_a_folder_of_timm_is_the_same_network_with_the_same_bytes(tmp_path, work, name, arguments, images):
    network = timm.create_model(name, num_classes=3, **arguments).eval()
    about = {"label_names": CLASSES}
    save_for_hf(network, tmp_path / "theirs", about, safe_serialization=True, data_config=images)

    found = folders.read(tmp_path / "theirs", work)

    assert found.checkpoint.read_bytes() == (tmp_path / "theirs" / "model.safetensors").read_bytes()
    assert found.description["architecture"] == {"name": f"timm/{name}", "in_channels": arguments.get("in_chans", 3)}
    assert found.description["classes"] == CLASSES
    with torch.inference_mode():
        torch.testing.assert_close(registered(found)(noise(found)), network(noise(found)))


def test_a_pickled_folder_of_timm_is_converted(tmp_path, work):
    network = timm.create_model("resnet18", num_classes=3)
    save_for_hf(network, tmp_path / "theirs", safe_serialization=False)

    found = folders.read(tmp_path / "theirs", work)

    assert torch.equal(load_file(found.checkpoint)["fc.weight"], network.fc.weight)
    assert "classes" not in found.description


def test_arguments_that_make_it_another_network_are_refused(tmp_path, work):
    """Dilation changes no shape, and every logit."""
    network = timm.create_model("resnet18", num_classes=3, output_stride=16)
    save_for_hf(network, tmp_path / "theirs", safe_serialization=True)
    with pytest.raises(Unsupported, match="another network"):
        folders.read(tmp_path / "theirs", work)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"crop_pct": 0.95}, {"resize": "crop", "crop_pct": 0.95}),
        ({}, {"resize": "crop", "crop_pct": 0.875}),
        ({"crop_mode": "squash", "crop_pct": 1.0}, {"resize": "stretch"}),
    ],
)
def test_how_timm_prepares_images_is_how_they_are_prepared_here(given, expected):
    said = folders.preprocessing({"input_size": (3, 32, 48), "mean": (0.1,) * 3, "std": (0.2,) * 3} | given)
    assert said == {
        "size": [32, 48],
        "mean": [0.1] * 3,
        "std": [0.2] * 3,
        "interpolation": "bicubic",
        **expected,
    }


@pytest.mark.parametrize("given", [{"crop_mode": "border"}, {"crop_mode": "squash", "crop_pct": 0.9}])
def test_images_that_we_cannot_prepare_like_timm_are_refused(given):
    with pytest.raises(Unsupported, match="crop_mode"):
        folders.preprocessing({"input_size": (3, 32, 48), "mean": (0.1,) * 3, "std": (0.2,) * 3} | given)


def labels():
    return {"id2label": dict(enumerate(CLASSES)), "label2id": {name: at for at, name in enumerate(CLASSES)}}


@pytest.mark.parametrize(
    ("name", "network", "processor"),
    [
        (
            "torchvision/resnet18",
            lambda: ResNetForImageClassification(
                ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], **labels())
            ),
            lambda: ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.8),
        ),
        (
            "torchvision/resnet50",
            lambda: ResNetForImageClassification(ResNetConfig(depths=[3, 4, 6, 3], **labels())),
            lambda: ConvNextImageProcessor(size={"shortest_edge": 64}),
        ),
        (
            "timm/vit_tiny_patch16_224",
            lambda: ViTForImageClassification(
                ViTConfig(hidden_size=192, num_attention_heads=3, intermediate_size=768, image_size=32, **labels())
            ),
            lambda: ViTImageProcessor(size={"height": 32, "width": 32}),
        ),
        (
            "torchvision/vit_b_16",
            lambda: ViTForImageClassification(ViTConfig(image_size=32, **labels())),
            lambda: ViTImageProcessor(size={"height": 32, "width": 32}),
        ),
    ],
)
def test_a_folder_of_transformers_is_the_same_network_under_other_names(tmp_path, work, name, network, processor):
    """Position embeddings and running statistics are not zero, or swapping them would not show."""
    theirs = network().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name_, buffer in theirs.named_buffers():
            if "running" in name_:
                buffer.add_(0.1 * torch.rand_like(buffer))
    theirs.save_pretrained(tmp_path / "theirs")
    processor().save_pretrained(tmp_path / "theirs")

    found = folders.read(tmp_path / "theirs", work)

    assert found.description["architecture"]["name"] == name
    assert found.description["classes"] == CLASSES
    with torch.inference_mode():
        expected = theirs(pixel_values=noise(found)).logits
        torch.testing.assert_close(registered(found)(noise(found)), expected, rtol=1e-3, atol=1e-3)


def test_the_processor_of_transformers_says_how_images_are_prepared(tmp_path, work):
    """The older form, as microsoft/resnet-18 has it."""
    config = ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], **labels())
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    older = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3}
    statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older | statistics))
    assert folders.read(tmp_path, work).description["preprocessing"] == {
        "size": [224, 224],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bicubic",
        "resize": "crop",
        "crop_pct": 0.875,
    }


RESNET = {"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_act": "relu"}
IMAGES = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 32, 32]}
TIMM = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": IMAGES}
VIT = {"model_type": "vit", "hidden_size": 192, "num_attention_heads": 3, "patch_size": 16, "hidden_act": "gelu"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "neither timm's"),
        ({"model_type": "bert"}, "not bert"),
        (RESNET | {"depths": [1, 1, 1, 1]}, "built otherwise"),
        (RESNET | {"hidden_act": "gelu"}, "built otherwise"),
        (RESNET | {"downsample_in_first_stage": True}, "built otherwise"),
        (VIT | {"num_attention_heads": 6}, "built otherwise"),
        (VIT | {"hidden_act": "relu"}, "built otherwise"),
        ({"model_type": "vit"}, "not described"),
        ({"architecture": "resnet17"}, "not on the allow-list"),
        ({"architecture": ["resnet18"]}, "allow-list|not described"),
        ({"architecture": "resnet18", "pretrained_cfg": 7}, "not described"),
        ({"architecture": "resnet18", "pretrained_cfg": {"mean": [0], "std": [1]}}, "not described"),
        (TIMM | {"model_args": {"checkpoint_path": "/etc/passwd"}}, "where weights are"),
        (TIMM | {"model_args": {"pretrained_cfg": {"file": "/etc/passwd"}}}, "where weights are"),
        (TIMM | {"model_args": {"nonsense": 1}}, "do not fit"),
        (TIMM | {"num_classes": 4}, "do not fit"),
        ({"structguard": {}}, "not described"),
        ({"structguard": {"registered": 7}}, "not described"),
    ],
)
def test_what_we_do_not_know_is_refused_with_words(tmp_path, work, config, message):
    save_for_hf(timm.create_model("resnet18", num_classes=3), tmp_path, safe_serialization=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unsupported, match=message):
        folders.read(tmp_path, work)


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_a_config_that_is_none_is_refused(tmp_path, work, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(Unsupported, match=r"config\.json"):
        folders.read(tmp_path, work)


def test_a_folder_without_weights_is_refused(tmp_path, work):
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(Unsupported, match=r"holds no model\.safetensors"):
        folders.read(tmp_path, work)


def test_damaged_weights_are_refused(tmp_path, work):
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(Unsupported, match="not whole"):
        folders.read(tmp_path, work)
