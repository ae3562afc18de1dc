"""A linear classifier of two pixels into three classes, and what calculus says about its cross-entropy."""

import torch
from torch import nn

from worker.unlearning import Batch, SplitClassifier

W = torch.tensor([[2.0, -1.0], [0.0, 1.0], [0.5, 0.0]])
B = torch.tensor([0.1, 0.0, -0.2])

FORGET = Batch(torch.tensor([[1.0, 0.0], [0.25, 0.75]]).view(2, 1, 1, 2), torch.tensor([0, 1]))


def classifier():
    """z = W x + B, which gets both of FORGET right."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    with torch.no_grad():
        network[1].weight.copy_(W)
        network[1].bias.copy_(B)
    return SplitClassifier(network, mean=[0.0], std=[1.0]).eval()


def cross_entropy_gradient(weight, bias, batch):
    """(p − onehot(y)) xᵀ and p − onehot(y), averaged over the batch."""
    x = batch.images.flatten(1)
    scores = torch.exp(x @ weight.T + bias)
    error = (scores / scores.sum(1, keepdim=True) - torch.eye(3)[batch.labels]) / len(batch)
    return error.T @ x, error.sum(0)


def weights(model):
    return model.head.weight.detach(), model.head.bias.detach()


def assert_weights(model, weight, bias):
    torch.testing.assert_close(model.head.weight.detach(), weight)
    torch.testing.assert_close(model.head.bias.detach(), bias)
