"""The whole method on real images and published weights, where they are at hand."""

import pytest
import torch

from benchmarks import cifar10
from tests.real_data import needs_cifar10
from worker.unlearning import DEFAULT, Batch, SplitClassifier, accuracy, forget_accuracy, unlearn

pytestmark = [needs_cifar10, pytest.mark.minutes]


@pytest.fixture(scope="module")
def requests() -> list[Batch]:
    """Two requests of sixteen images."""
    images, labels = cifar10.forget_set(32, seed=102)
    return [cifar10.batch(images[half], labels[half]) for half in (slice(16), slice(16, 32))]


@pytest.fixture(scope="module")
def test_images() -> Batch:
    return cifar10.batch(*cifar10.first_test_images(2000))


@pytest.fixture(scope="module")
def model(requests) -> SplitClassifier:
    """After the first request."""
    model = cifar10.resnet20()
    fulfil(model, requests[0])
    return model


def fulfil(model: SplitClassifier, request: Batch) -> None:
    rng = torch.Generator().manual_seed(102)
    list(unlearn(model, request, anchors=cifar10.clip_anchors(), config=DEFAULT, rng=rng))


def test_sixteen_images_are_forgotten_and_the_test_accuracy_stays(model, requests, test_images):
    before = accuracy(cifar10.resnet20(), test_images)
    assert before > 91
    assert forget_accuracy(model, requests[0]) == 100.0
    assert before - accuracy(model, test_images) <= 1.0


def test_the_next_request_does_not_bring_them_back(model, requests, test_images):
    """The images of the first are gone by then; what holds them down is how deep they lie."""
    before = accuracy(model, test_images)
    fulfil(model, requests[1])
    assert [forget_accuracy(model, request) for request in requests] == [100.0, 100.0]
    assert before - accuracy(model, test_images) <= 1.0
