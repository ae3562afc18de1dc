"""The whole method on real images and published weights, where they are at hand."""

import torch

from benchmarks import cifar10
from tests.real_data import needs_cifar10
from worker.unlearning import DEFAULT, accuracy, forget_accuracy, unlearn


@needs_cifar10
def test_sixteen_images_are_forgotten_and_the_test_accuracy_stays():
    model = cifar10.resnet20()
    forget = cifar10.batch(*cifar10.forget_set(16, seed=102))
    test = cifar10.batch(*cifar10.first_test_images(2000))
    before = accuracy(model, test)
    list(unlearn(model, forget, anchors=cifar10.clip_anchors(), config=DEFAULT, rng=torch.Generator().manual_seed(102)))
    assert before > 91
    assert forget_accuracy(model, forget) == 100.0
    assert before - accuracy(model, test) <= 1.0
