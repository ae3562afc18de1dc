import torch

from benchmarks.comparators import NegGrad, neggrad
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient


def test_an_update_climbs_the_cross_entropy():
    """w + lr ∂CE/∂w: nothing else where there is no decay and no momentum yet."""
    model = classifier()
    config = NegGrad(lr=0.1, weight_decay=0.0, max_steps=1)
    list(neggrad(model, FORGET, config=config, rng=torch.Generator().manual_seed(0)))
    dW, dB = cross_entropy_gradient(W, B, FORGET)
    assert_weights(model, W + 0.1 * dW, B + 0.1 * dB)


def test_momentum_and_decay_are_those_of_sgd():
    """v = 0.9 v + (−∂CE/∂w + decay · w), w − lr v, twice."""
    model = classifier()
    config = NegGrad(lr=0.1, weight_decay=0.01, max_steps=2)
    list(neggrad(model, FORGET, config=config, rng=torch.Generator().manual_seed(0)))
    w, b, v, u = W, B, torch.zeros(3, 2), torch.zeros(3)
    for _ in range(2):
        dW, dB = cross_entropy_gradient(w, b, FORGET)
        v, u = 0.9 * v - dW + 0.01 * w, 0.9 * u - dB + 0.01 * b
        w, b = w - 0.1 * v, b - 0.1 * u
    assert_weights(model, w, b)
