import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from benchmarks import cifar10
from service.registry.models.architectures import Architecture, expected_tensors
from service.registry.models.checkpoint_files import inspect
from service.registry.storage.disk_full import is_disk_full
from tests.real_data import needs_cifar10
from worker.exchange.convert import convert
from worker.networks.architectures import build, load, save

RESNET8 = Architecture(name="cifar_resnet8", in_channels=1)
SETTINGS = {"num_classes": 5, "image_size": (28, 28)}


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        ("cifar_resnet20", 1, (28, 28)),
        ("torchvision/mobilenet_v3_small", 3, (32, 48)),
        ("torchvision/densenet121", 3, (29, 29)),
        ("torchvision/vit_b_32", 3, (64, 64)),
        ("torchvision/swin_t", 3, (32, 40)),
        ("timm/resnet18", 4, (32, 32)),
        ("timm/vit_tiny_patch16_224", 2, (32, 64)),
        ("timm/swin_tiny_patch4_window7_224", 1, (225, 300)),
    ],
)
def test_a_network_takes_the_images_it_was_built_for(name, channels, size):
    """One row of logits per image, for the smallest sizes and for odd ones."""
    network = build(Architecture(name=name, in_channels=channels), num_classes=7, image_size=size).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, channels, *size)).shape == (2, 7)


def test_what_is_saved_is_accepted_by_the_service_and_loaded_again(tmp_path):
    """Weights, buffers and metadata survive, for a network whose memory lies in another order too."""
    network = build(RESNET8, **SETTINGS).to(memory_format=torch.channels_last)
    save(network, tmp_path / "a.safetensors", {"request": "r1"})

    inspect(tmp_path / "a.safetensors", expected_tensors(RESNET8, **SETTINGS))
    loaded = load(RESNET8, tmp_path / "a.safetensors", **SETTINGS)

    assert not loaded.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert file.metadata() == {"request": "r1"}


def test_tensors_that_share_memory_are_both_written(tmp_path):
    """A tied weight is stored under both of its names."""
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    save(tied, tmp_path / "a", {})
    assert torch.equal(load_file(tmp_path / "a")["0.weight"], load_file(tmp_path / "a")["1.weight"])


def test_half_precision_is_loaded_as_float32_and_counters_may_be_absent(tmp_path):
    """What the file leaves out or rounds does not change how the network computes."""
    state = build(RESNET8, **SETTINGS).state_dict()
    half = {name: tensor.half() for name, tensor in state.items() if tensor.is_floating_point()}
    save_file(half, tmp_path / "a")

    loaded = load(RESNET8, tmp_path / "a", **SETTINGS).state_dict()

    assert torch.equal(loaded["linear.weight"], half["linear.weight"].float())
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32, torch.int64}


def test_a_checkpoint_of_another_network_is_not_loaded(tmp_path):
    """Loading is strict: torch names what does not fit."""
    save(build(RESNET8, num_classes=6, image_size=(28, 28)), tmp_path / "a", {})
    with pytest.raises(RuntimeError, match=r"size mismatch for linear\.weight"):
        load(RESNET8, tmp_path / "a", **SETTINGS)


@needs_cifar10
def test_the_published_resnet20_keeps_its_accuracy_through_conversion(tmp_path):
    """Converted, accepted, loaded: more than 90 % of the first 2,000 test images are right (91.73 % of all 10,000)."""
    settings = {"num_classes": 10, "image_size": (32, 32)}
    convert(cifar10.RESNET20, tmp_path / "a.safetensors")
    inspect(tmp_path / "a.safetensors", expected_tensors(Architecture(name="cifar_resnet20"), **settings))
    network = load(Architecture(name="cifar_resnet20"), tmp_path / "a.safetensors", **settings)

    images, labels = (torch.from_numpy(array) for array in cifar10.first_test_images(2_000))
    mean, std = torch.tensor(cifar10.MEAN), torch.tensor(cifar10.STD)
    with torch.inference_mode():
        predicted = network(((images / 255 - mean) / std).permute(0, 3, 1, 2)).argmax(1)
    assert (predicted == labels).float().mean() > 0.90


def test_a_disk_without_room_is_recognised(tmp_path, monkeypatch):
    """safetensors says it in its text alone, here as it was seen on a full disk; another error stays what it is."""

    def save_file(*_):
        raise SafetensorError(f"Error while serializing: I/O error: {said}")

    monkeypatch.setattr("worker.networks.architectures.save_file", save_file)
    network = build(RESNET8, **SETTINGS)
    said = "No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left") as error:
        save(network, tmp_path / "a.safetensors", {})
    assert is_disk_full(error.value)
    said = "Input/output error (os error 5)"
    with pytest.raises(SafetensorError):
        save(network, tmp_path / "a.safetensors", {})
