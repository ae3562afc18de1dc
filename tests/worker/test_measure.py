"""What is reported of a version is what a few lines of arithmetic give."""

import pytest
import torch
from torch import nn

from worker.measure import Probe, measure
from worker.unlearning import Batch, SplitClassifier


@pytest.fixture
def model() -> SplitClassifier:
    """Says 0 for images whose left pixel is the brighter one, and 1 otherwise."""
    head = nn.Linear(2, 2, bias=False)
    head.weight.data = torch.eye(2)
    return SplitClassifier(nn.Sequential(nn.Flatten(), head), mean=[0.0], std=[1.0]).eval()


def images(*pairs: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(pairs).view(len(pairs), 1, 1, 2)


def test_accuracies_are_percentages_over_all_batches(model: SplitClassifier) -> None:
    forget = Batch(images((1.0, 0.0), (0.0, 1.0)), torch.tensor([1, 1]))  # the first one is misclassified
    test = [
        Batch(images((1.0, 0.0), (1.0, 0.0), (1.0, 0.0)), torch.tensor([0, 0, 1])),
        Batch(images((0.0, 1.0)), torch.tensor([1])),
    ]
    measured = measure(model, forget=forget, test=test, retain=None, probe=None)
    assert measured.forget_accuracy == 50
    assert measured.test_accuracy == 75
    assert (measured.retain_accuracy, measured.collapse) == (None, None)


def test_robust_forget_accuracy_is_the_mean_over_the_views(model: SplitClassifier) -> None:
    forget = Batch(images((1.0, 0.2)), torch.tensor([0]))
    measured = measure(model, forget=forget, test=None, retain=None, probe=None)
    by_view = measured.robust_forget_accuracy_by_view
    assert (measured.forget_accuracy, by_view["flip"], by_view["darker"]) == (0, 100, 0)
    assert measured.robust_forget_accuracy == pytest.approx(sum(by_view.values()) / len(by_view))


def test_collapse_is_none_at_first_and_two_when_everything_is_reversed() -> None:
    features = nn.Linear(2, 2, bias=False)
    head = nn.Linear(2, 2, bias=False)
    features.weight.data, head.weight.data = torch.eye(2), torch.eye(2)
    model = SplitClassifier(nn.Sequential(nn.Flatten(), features, head), mean=[0.0], std=[1.0]).eval()
    probe = Probe(model, images((1.0, 0.0), (0.0, 1.0)), torch.eye(2))
    assert probe.collapse(model) == pytest.approx(0, abs=1e-6)
    features.weight.data = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert probe.collapse(model) == pytest.approx(2, abs=1e-6)
