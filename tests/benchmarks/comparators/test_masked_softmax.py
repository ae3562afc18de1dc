import torch

from benchmarks.comparators import Delete, delete
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier


def test_an_update_descends_to_the_softmax_without_the_label(rng):
    """∂KL/∂z = p − t, where t is p with the label's share spread over the others in proportion."""
    model = classifier()
    list(delete(model, FORGET, config=Delete(lr=0.1, max_steps=1), rng=rng))
    x = FORGET.images.flatten(1)
    scores = torch.exp(x @ W.T + B)
    others = scores * (1 - torch.eye(3)[FORGET.labels])
    error = (scores / scores.sum(1, keepdim=True) - others / others.sum(1, keepdim=True)) / 2
    assert_weights(model, W - 0.1 * error.T @ x, B - 0.1 * error.sum(0))
