"""A convolutional network with BatchNorm that knows scikit-learn's digits, trained once per test session."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from worker.unlearning import Batch, SplitClassifier


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more threads, and several test processes share the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def digits() -> tuple[Batch, Batch]:
    """1,400 training and 397 test images, 1×8×8."""
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return Batch(images[order[:1400]], labels[order[:1400]]), Batch(images[order[1400:]], labels[order[1400:]])


@pytest.fixture(scope="session")
def trained(digits: tuple[Batch, Batch]) -> SplitClassifier:
    """Accuracy about 98 % on the test images. Session-wide: tests work on `model`, a copy."""
    train, _ = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
        model = SplitClassifier(network, mean=[0.3], std=[0.35])
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(8):
            for index in torch.randperm(len(train)).split(64):
                optimiser.zero_grad()
                F.cross_entropy(model(train.images[index]), train.labels[index]).backward()
                optimiser.step()
    return model.eval()


@pytest.fixture
def model(trained: SplitClassifier) -> SplitClassifier:
    return copy.deepcopy(trained)


@pytest.fixture
def forget(digits: tuple[Batch, Batch]) -> Batch:
    """The first 16 training images."""
    train, _ = digits
    return Batch(train.images[:16], train.labels[:16])
