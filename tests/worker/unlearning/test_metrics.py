import pytest
import torch
from torch import nn

from worker.unlearning import (
    EVALUATION_VIEWS,
    Batch,
    SplitClassifier,
    accuracy,
    affinities,
    all_finite,
    batch_margins,
    forget_accuracy,
    robust_forget_accuracy,
    structural_collapse,
)
from worker.unlearning.anchors import Structure


@pytest.fixture
def brightness():
    """Three classes whose logits are the pixel value, 0.5 and 0.25."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0], [0.0], [0.0]]))
        network[1].bias.copy_(torch.tensor([0.0, 0.5, 0.25]))
    return SplitClassifier(network, mean=[0.0], std=[1.0]).train()


PIXELS = torch.tensor([1.0, 0.75, 0.0, 0.4]).view(4, 1, 1, 1)
BATCH = Batch(PIXELS, torch.tensor([0, 0, 0, 2]))


def test_margins_accuracy_and_forget_accuracy_agree(brightness):
    torch.testing.assert_close(batch_margins(brightness, BATCH), torch.tensor([0.5, 0.25, -0.5, -0.25]))
    assert accuracy(brightness, BATCH) == 50.0
    assert forget_accuracy(brightness, BATCH) == 50.0


def test_measuring_restores_the_mode(brightness):
    accuracy(brightness, BATCH)
    assert brightness.training
    accuracy(brightness.eval(), BATCH)
    assert not brightness.training


def test_a_model_that_answers_nan_has_forgotten_nothing(brightness):
    with torch.no_grad():
        brightness.head.bias.fill_(torch.nan)
    assert forget_accuracy(brightness, BATCH) == 0.0
    assert not all_finite(brightness)


def test_finite_weights_are_recognised(brightness):
    assert all_finite(brightness)


def test_robust_forget_accuracy_has_one_figure_per_view(model, forget):
    views = robust_forget_accuracy(model, forget)
    assert tuple(views) == EVALUATION_VIEWS
    assert views["noise"] <= views["flip"]


def test_affinities_are_those_of_the_features(brightness):
    structure = Structure(torch.eye(1), torch.eye(1), torch.tensor([0.5]))
    assert affinities(brightness, PIXELS, structure).tolist() == [[1.0], [1.0], [-1.0], [-1.0]]


def test_structural_collapse_is_one_minus_the_mean_cosine():
    """Rows unchanged, orthogonal and reversed: cosines 1, 0, −1."""
    original = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    current = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert structural_collapse(original, current) == pytest.approx(1.0)
