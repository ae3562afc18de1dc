import dataclasses
import math

import torch

from benchmarks.comparators import L2UL, l2ul
from benchmarks.comparators.weight_importance import inverted_importance
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient
from tests.benchmarks.comparators.test_attack_images import CONFIG, attacks


def importance_by_hand():
    """∂‖z‖/∂W_cj = z_c x_j/‖z‖ and ∂‖z‖/∂B_c = z_c/‖z‖; magnitudes per image, averaged, scaled and inverted."""
    z = [[2.1, 0.0, 0.3], [-0.15, 0.75, -0.075]]  # W x + B for x = (1, 0) and (0.25, 0.75)
    of_W, of_B = torch.zeros(3, 2), torch.zeros(3)
    for logits, x in zip(z, FORGET.images.flatten(1), strict=True):
        norm = math.sqrt(sum(c * c for c in logits))
        for c in range(3):
            of_B[c] += abs(logits[c]) / norm / 2
            for j in range(2):
                of_W[c, j] += abs(logits[c]) * x[j] / norm / 2
    return [1 - (omega - omega.min()) / (omega.max() - omega.min()) for omega in (of_W, of_B)]


def test_importance_is_one_minus_the_scaled_sensitivity_of_the_logits_norm():
    of_W, of_B = inverted_importance(classifier(), FORGET.images)
    expected_W, expected_B = importance_by_hand()
    torch.testing.assert_close(of_W, expected_W)
    torch.testing.assert_close(of_B, expected_B)
    assert (of_W.min(), of_W.max()) == (0, 1)


def test_importance_is_one_where_every_weight_matters_the_same():
    """A single image whose pixels are all black: no weight of the matrix matters."""
    of_W, _ = inverted_importance(classifier(), torch.zeros(1, 1, 1, 2))
    assert of_W.tolist() == [[1, 1], [1, 1], [1, 1]]


def test_a_second_update_is_drawn_back_to_the_original_weights_by_importance():
    """At the original weights the regulariser is flat; then its gradient is λ I (θ − θ_ori)."""
    model = classifier()
    config = L2UL(**{**dataclasses.asdict(CONFIG), "momentum": 0.0, "max_steps": 2, "importance_weight": 3.0})
    steps = list(l2ul(model, FORGET, config=config, rng=torch.Generator().manual_seed(0)))
    of_W, of_B = importance_by_hand()
    w, b = W, B
    for _ in range(2):
        forget_W, forget_B = cross_entropy_gradient(w, b, FORGET)
        attack_W, attack_B = cross_entropy_gradient(w, b, attacks())
        dW = -0.25 * forget_W + 0.75 * attack_W + 3.0 * of_W * (w - W)
        dB = -0.25 * forget_B + 0.75 * attack_B + 3.0 * of_B * (b - B)
        w, b = w - 0.1 * dW, b - 0.1 * dB
    assert_weights(model, w, b)
    assert [s.terms.get("importance", 0.0) > 0 for s in steps if s.phase == "unlearn"] == [False, True, False]
