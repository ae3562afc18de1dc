import pytest
import torch
from torch import nn

from worker.networks.cifar_resnet import cifar_resnet
from worker.unlearning import SplitClassifier
from worker.unlearning.frozen_trunk import Tail, training_the_last


def trained_names(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_as_few_tensors_are_trained_as_hold_the_share():
    """8 + 6 + 3 parameters: the last two tensors hold 9 of the 17, and for one more the first is needed too."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False))
    network.append(nn.Linear(3, 1, bias=False))  # 8 + 6 + 3
    model = SplitClassifier(network, mean=[0.0], std=[1.0])
    with training_the_last(model, share=9 / 17):
        assert trained_names(model) == ["network.2.weight", "network.3.weight"]
    with training_the_last(model, share=10 / 17):
        assert trained_names(model) == ["network.1.weight", "network.2.weight", "network.3.weight"]
    with training_the_last(model, share=1.0):
        assert len(trained_names(model)) == 3
    assert len(trained_names(model)) == 3


def test_the_last_stage_of_a_resnet_is_trained_on_what_the_others_make_of_an_image():
    model = SplitClassifier(cifar_resnet(8, num_classes=10), mean=[0.5] * 3, std=[0.2] * 3).eval()
    x = torch.rand(3, 3, 32, 32)
    with training_the_last(model, share=0.7):
        tail = Tail(model, x[:2])
        assert {name.split(".")[1] for name in trained_names(model)} == {"layer3", "linear"}
    inputs = tail.inputs(x)
    assert inputs.shape == (3, 32, 16, 16)
    torch.testing.assert_close(tail.classifier(inputs), model(x))


def test_both_share_their_parameters_and_the_network_stays_as_it_is():
    model = SplitClassifier(cifar_resnet(8, num_classes=10), mean=[0.5] * 3, std=[0.2] * 3).eval()
    x, names = torch.rand(2, 3, 32, 32), list(model.state_dict())
    with training_the_last(model, share=0.7):
        tail = Tail(model, x)
    with torch.no_grad():
        tail.classifier.head.bias.add_(1)
    torch.testing.assert_close(tail.classifier(tail.inputs(x)), model(x))
    assert list(model.state_dict()) == names


class Skipping(nn.Module):
    """Its children are no chain: the image reaches the last one past the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x.flatten(1)) + x.flatten(1))


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_network_that_cannot_be_cut_is_its_own_tail(share):
    model, x = SplitClassifier(Skipping(), mean=[0.0], std=[1.0]).eval(), torch.rand(2, 1, 2, 2)
    with training_the_last(model, share=share):
        tail = Tail(model, x)
    assert tail.classifier is model
    assert torch.equal(tail.inputs(x), x)


def test_inputs_are_kept_in_the_precision_that_is_asked_for():
    model = SplitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), mean=[0.0], std=[1.0]).eval()
    assert (
        Tail(model, torch.rand(1, 1, 2, 2), dtype=torch.bfloat16).inputs(torch.rand(1, 1, 2, 2)).dtype == torch.bfloat16
    )
