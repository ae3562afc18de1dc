import pytest
import torch

from benchmarks.comparators import RAWP, rawp
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient
from worker.unlearning import Batch


def test_an_update_moves_a_matrix_by_its_share_of_the_original_norm_and_leaves_the_bias():
    """W + γ ‖W‖ G/‖G‖ with G = ∂CE/∂W, twice, ‖W‖ that of the start."""
    model = classifier()
    config = RAWP(random_start=0.0, size=0.05, max_steps=2)
    list(rawp(model, FORGET, config=config, rng=torch.Generator().manual_seed(0)))
    w = W
    for _ in range(2):
        dW, _ = cross_entropy_gradient(w, B, FORGET)
        w = w + 0.05 * W.square().sum().sqrt() * dW / dW.square().sum().sqrt()
    assert_weights(model, w, B)


def test_without_updates_it_is_a_random_perturbation_of_a_set_size():
    model = classifier()
    steps = list(rawp(model, FORGET, config=RAWP(random_start=0.01, max_steps=0), rng=torch.Generator().manual_seed(7)))
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(7))
    moved = 0.01 * W.square().sum().sqrt() * noise / noise.square().sum().sqrt()
    assert_weights(model, W - moved, B)
    assert [(s.step, s.forget_accuracy) for s in steps] == [(0, 0.0)]


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_size_of_an_update_does_not_depend_on_the_size_of_the_gradient(scale):
    """Dark images have small gradients."""
    model, dark = classifier(), Batch(FORGET.images * scale, FORGET.labels)
    list(rawp(model, dark, config=RAWP(random_start=0.0, size=0.1, max_steps=1), rng=torch.Generator()))
    # At a thousandth of the brightness the bias decides, and one of the two is wrong already.
    assert (model.head.weight.detach() - W).norm() / W.norm() == pytest.approx(0.1)
