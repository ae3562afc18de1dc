import torch

from benchmarks.comparators import Oracle, oracle
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient
from worker.unlearning import Batch


def test_an_update_descends_on_retained_and_climbs_on_forget_images(rng):
    """w − lr (∂CE_r − ∂CE_f), both with weight 1."""
    retain = Batch(torch.tensor([[0.5, 0.5], [0.0, 1.0], [1.0, 1.0]]).view(3, 1, 1, 2), torch.tensor([2, 1, 0]))
    model = classifier()
    list(oracle(model, FORGET, retain=retain, config=Oracle(lr=0.1, weight_decay=0.0, max_steps=1), rng=rng))
    retain_W, retain_B = cross_entropy_gradient(W, B, retain)
    forget_W, forget_B = cross_entropy_gradient(W, B, FORGET)
    assert_weights(model, W - 0.1 * (retain_W - forget_W), B - 0.1 * (retain_B - forget_B))
