import torch

from benchmarks.comparators import BoundaryShrink, boundary_shrink
from benchmarks.comparators.nearest_class import nearest_wrong_classes
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient
from worker.unlearning import Batch


def test_the_nearest_class_is_the_best_but_the_label_after_one_step_up_the_loss():
    """By hand: (1, 0) of class 0 moves to (0.5, 0.5), as class 0 likes the first pixel and dislikes the second.

    There z = (0.6, 0.5, 0.05), and with the label struck out class 1 is best. (0.25, 0.75) of class 1 moves to
    (0.75, 0.25) with z = (1.35, 0.25, 0.175).
    """
    assert nearest_wrong_classes(classifier(), FORGET, eps=0.5).tolist() == [1, 0]


def test_an_update_descends_to_the_nearest_classes(rng):
    model = classifier()
    list(boundary_shrink(model, FORGET, config=BoundaryShrink(lr=0.1, max_steps=1, fgsm_eps=0.5), rng=rng))
    dW, dB = cross_entropy_gradient(W, B, Batch(FORGET.images, torch.tensor([1, 0])))
    assert_weights(model, W - 0.1 * dW, B - 0.1 * dB)
