import math

import pytest
import torch
from torch import nn

from benchmarks.comparators import Fisher, fisher
from benchmarks.comparators.fisher_noise import fisher_information, noise_variance
from tests.benchmarks.comparators.linear import B, W, classifier
from worker.unlearning import Batch, SplitClassifier, forget_accuracy


def last(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_the_information_of_a_linear_classifier_is_p_times_one_minus_p_times_x_squared(rng):
    """∂ log p_y/∂W_cj = (1[y=c] − p_c) x_j, whose square is p_c (1 − p_c) x_j² on average over y ~ p."""
    x = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    scores = torch.exp(x @ W.T + B)
    p = scores / scores.sum(1, keepdim=True)
    expected_B = (p * (1 - p)).mean(0)
    expected_W = (p * (1 - p)).T @ x.square() / 2
    images = x.view(2, 1, 1, 2).repeat(2000, 1, 1, 1)
    of_W, of_B = last(fisher_information(classifier(), images, rng=rng, deadline=math.inf))
    torch.testing.assert_close(of_W, expected_W, rtol=0.2, atol=0)
    torch.testing.assert_close(of_B, expected_B, rtol=0.2, atol=0)


def test_the_variance_is_the_strength_over_the_root_of_the_damped_information():
    information = [torch.tensor([0.0, 3e-8, 1.0])]
    (variance,) = noise_variance(information, config=Fisher(strength=2.0, damping=1e-8))
    torch.testing.assert_close(variance, torch.tensor([2e4, 1e4, 2.0]))


def test_every_weight_gets_noise_of_its_variance(rng):
    """Black pixels: the matrix carries no information, so Σ = 0.5/√0.04 = 2.5."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4096, 4))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    model = SplitClassifier(network, mean=[0.0], std=[1.0])
    black = Batch(torch.zeros(8, 1, 64, 64), torch.zeros(8, dtype=torch.int64))
    list(fisher(model, black, retain=black, config=Fisher(strength=0.5, damping=0.04), rng=rng))
    assert model.head.weight.detach().std().item() == pytest.approx(math.sqrt(2.5), rel=0.03)
    assert abs(model.head.weight.detach().mean().item()) < 0.05
    assert bool((model.head.bias.detach() != 0).all())


def test_it_reports_while_it_measures_and_then_its_one_update(model, forget, digits, rng):
    train, _ = digits
    steps = list(fisher(model, forget, retain=train, config=Fisher(images=10), rng=rng))
    assert [(s.phase, s.step, s.total) for s in steps] == [("unlearn", 0, 1)] * 3 + [("unlearn", 1, 1)]
    assert [s.forget_accuracy for s in steps] == [None, None, None, forget_accuracy(model, forget)]


def test_the_time_limit_shortens_the_measuring(model, forget, digits, rng):
    train, _ = digits
    steps = list(fisher(model, forget, retain=train, config=Fisher(max_seconds=0.0), rng=rng))
    assert [s.step for s in steps] == [0, 1]


def test_stronger_noise_forgets_more(model, trained, forget, digits, rng):
    train, _ = digits
    list(fisher(model, forget, retain=train, config=Fisher(strength=1e-9, images=64), rng=rng))
    assert forget_accuracy(model, forget) == forget_accuracy(trained, forget)
    list(fisher(model, forget, retain=train, config=Fisher(strength=1e-2, images=64), rng=rng))
    assert forget_accuracy(model, forget) > 30
