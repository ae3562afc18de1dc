import pytest
import torch
from torch import nn

from worker.networks.cifar_resnet import cifar_resnet
from worker.unlearning import SplitClassifier


class WithHeads(nn.Module):
    """A linear layer inside, and the head two levels down, as in torchvision's vision transformers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(5, 3))

    def forward(self, x):
        return self.heads(self.body(x).tanh())


def wrap(network):
    return SplitClassifier(network, mean=[0.5] * 3, std=[0.25] * 3)


def test_the_input_is_normalised_inside():
    model = SplitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), mean=[0.5], std=[0.25])
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(2))
        model.head.bias.zero_()
    pixels = torch.tensor([0.5, 1.0]).view(1, 1, 1, 2)
    assert model(pixels).tolist() == [[0.0, 2.0]]


def test_h_of_g_is_the_logits():
    model = wrap(WithHeads())
    x = torch.rand(4, 3, 2, 2)
    features, logits = model.split(x)
    assert features.shape == (4, 5)
    assert torch.equal(model.head(features), logits)
    assert torch.equal(model(x), logits)


def test_a_cifar_resnet_splits_into_64_features():
    model = wrap(cifar_resnet(8, 10)).eval()
    features, logits = model.split(torch.rand(2, 3, 8, 8))
    assert (features.shape, logits.shape) == ((2, 64), (2, 10))


def test_splitting_leaves_no_trace_on_the_network():
    network = WithHeads()
    names = list(network.state_dict())
    wrap(network).split(torch.rand(1, 3, 2, 2))
    assert list(network.state_dict()) == names
    assert not network.heads.head._forward_pre_hooks


def test_psi_is_everything_but_the_head():
    assert set(wrap(WithHeads()).features_only_parameters()) == {"network.body.1.weight", "network.body.1.bias"}


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="no linear layer"):
        wrap(nn.Conv2d(3, 2, 1))


def test_a_network_that_goes_on_after_its_last_linear_layer_is_refused():
    model = wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Unflatten(1, (2, 2))))
    with pytest.raises(ValueError, match="'1'"):
        model.split(torch.rand(1, 3, 2, 2))


def test_a_standard_deviation_of_zero_is_refused():
    with pytest.raises(ValueError, match="std"):
        SplitClassifier(nn.Linear(2, 2), mean=[0.0], std=[0.0])
