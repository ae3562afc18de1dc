import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from service.registry.models import architectures
from service.registry.models.architectures import Architecture, ExpectedTensor, ImageSizeUnsupported, expected_tensors
from worker.networks.architectures import build, manifest


def test_the_committed_manifest_is_what_the_generator_produces():
    """The file in the repository describes the networks that the installed libraries build."""
    assert architectures.manifest() == manifest()


@pytest.mark.parametrize("name", architectures.names())
def test_every_network_is_described_tensor_by_tensor(name):
    """For settings the generator never saw, names, shapes and kinds are those of the real network."""
    shapes = architectures.manifest()[name]
    architecture = Architecture(name=name, in_channels=2 if shapes.any_channels else 3)
    size = (256, 256) if shapes.square else (256, 320)
    with torch.device("cpu" if "regnet" in name else "meta"):
        state = build(architecture, num_classes=7, image_size=size).state_dict()

    expected = expected_tensors(architecture, num_classes=7, image_size=size)

    assert {key: want.shape for key, want in expected.items()} == {key: tuple(t.shape) for key, t in state.items()}
    assert {key for key, want in expected.items() if want.integer} == {
        key for key, t in state.items() if t.dtype == torch.int64
    }


def test_only_batch_counters_may_be_absent():
    """Running means matter for prediction, the counter of batches does not."""
    expected = expected_tensors(Architecture(name="cifar_resnet8"), num_classes=10, image_size=(32, 32))

    assert expected["bn1.num_batches_tracked"] == ExpectedTensor((), integer=True, optional=True)
    assert expected["bn1.running_mean"] == ExpectedTensor((16,), integer=False, optional=False)
    assert expected["linear.weight"] == ExpectedTensor((10, 64), integer=False, optional=False)


def test_a_misspelt_name_is_answered_with_the_near_ones():
    """Whoever forgets the library's name is told where the network is."""
    with pytest.raises(ValidationError, match=r"Did you mean .*(torchvision|timm)/resnet18"):
        Architecture(name="resnet18")


def test_a_name_far_from_all_is_answered_with_the_list():
    """A network that is not allowed is answered with those that are."""
    with pytest.raises(ValidationError, match="Allowed: cifar_resnet8, "):
        Architecture(name="@@@@")


def test_torchvision_takes_three_channels_only():
    """Its constructors have no such argument, and ours and timm's do."""
    with pytest.raises(ValidationError, match="three channels only"):
        Architecture(name="torchvision/resnet18", in_channels=1)
    assert Architecture(name="timm/resnet18", in_channels=1).in_channels == 1


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("timm/vit_tiny_patch16_224", (224, 230), "multiples of 16"),
        ("torchvision/vit_b_16", (224, 256), "square"),
        ("torchvision/densenet121", (28, 28), "at least 29 × 29"),
        ("timm/swin_tiny_patch4_window7_224", (224, 192), "at least 224 × 224"),
    ],
)
def test_an_impossible_image_size_is_refused_with_the_possible_ones(name, size, message):
    """What the network cannot take is known before any weight is read."""
    with pytest.raises(ImageSizeUnsupported, match=message):
        expected_tensors(Architecture(name=name), num_classes=10, image_size=size)


def test_the_smallest_images_of_common_sets_have_networks():
    """MNIST's 28 × 28 grey images fit ours and a timm ResNet."""
    for name in ("cifar_resnet20", "timm/resnet18"):
        assert expected_tensors(Architecture(name=name, in_channels=1), num_classes=10, image_size=(28, 28))


def test_judging_a_checkpoint_loads_no_torch():
    """The service's process stays small: nothing it needs for an upload imports the GPU stack."""
    code = """
import sys
from service.registry.models.architectures import Architecture, expected_tensors
import service.registry.models.checkpoint_files
expected_tensors(Architecture(name="timm/resnet50"), num_classes=10, image_size=(224, 224))
print(sorted({"torch", "torchvision", "timm"} & sys.modules.keys()))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
