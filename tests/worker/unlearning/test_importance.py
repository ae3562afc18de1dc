import pytest
import torch
from torch import nn

from worker.unlearning import SplitClassifier
from worker.unlearning.anchors import Structure
from worker.unlearning.importance import importance
from worker.unlearning.projector import Projector


@pytest.fixture
def tiny():
    """g(x) = V x with V the 2×2 identity, and any head."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.Linear(2, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(2))
    return SplitClassifier(network, mean=[0.0], std=[1.0])


def test_gauss_newton_is_the_squared_sensitivity_of_the_affinities(tiny, rng):
    """One image x = (1, 0) and one anchor (0, 1): S = g₂/|g|, so ∂S/∂g = (0, 1) and ∂S/∂V = ((0, 0), (1, 0)).

    Its square, scaled to mean 1 over four entries, is 4 in one place.
    """
    structure = Structure(torch.tensor([[0.0, 1.0]]), torch.eye(2), torch.zeros(2))
    x = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    (values,) = importance(tiny, x, structure, kind="gauss_newton", rng=rng)
    assert values.tolist() == [[0.0, 0.0], [4.0, 0.0]]


def test_random_signs_agree_with_the_loop_over_images_and_anchors(tiny, rng):
    x = torch.rand(64, 1, 1, 2, generator=rng)
    structure = Structure(torch.eye(2), torch.eye(2), torch.zeros(2))
    exact = torch.zeros(2, 2)
    (V,) = tiny.features_only_parameters().values()
    for image in x:
        for affinity in structure.affinity(tiny.split(image[None])[0])[0]:
            exact += torch.autograd.grad(affinity, V, retain_graph=True)[0].square()
    (estimate,) = importance(tiny, x.repeat(60, 1, 1, 1), structure, kind="gauss_newton", rng=rng)
    torch.testing.assert_close(estimate, exact / exact.mean(), rtol=0.2, atol=0.04)


def test_the_printed_equation_is_the_mean_absolute_gradient_of_each_images_alignment(tiny, rng):
    """Against the same by hand: cos of S_ori = (0.6, 0.8) and S_unl = norm(p(g)), with p(g) = g + (g₂, 0)."""
    projector = Projector(2, rng=rng)
    with torch.no_grad():
        projector.W1.copy_(torch.eye(2))
        projector.W2.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    structure = Structure(torch.eye(2), torch.eye(2), torch.zeros(2))
    x = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    (values,) = importance(tiny, x, structure, kind="gradient", rng=rng, projector=projector)
    # q = (7, 4): ∂cos/∂q = (s − cos·q̂)/|q| ∝ (4, −7), since it is orthogonal to q. Back through p, with
    # q₁ = g₁ + g₂ and q₂ = g₂: ∂/∂g ∝ (4, −3); then ∂/∂V = ∂/∂g xᵀ ∝ ((12, 16), (9, 12)) in absolute value.
    torch.testing.assert_close(values, torch.tensor([[12.0, 16.0], [9.0, 12.0]]) / 12.25)


def test_the_printed_equation_needs_a_projector(tiny, rng):
    structure = Structure(torch.eye(2), torch.eye(2), torch.zeros(2))
    with pytest.raises(ValueError, match="as printed is zero"):
        importance(tiny, torch.rand(1, 1, 1, 2), structure, kind="gradient", rng=rng)


@pytest.mark.parametrize("kind", ["gauss_newton", "gradient"])
def test_no_buffer_and_no_mode_changes(model, forget, kind, rng):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    width = model.head.in_features
    structure = Structure(torch.eye(width), torch.eye(width), torch.zeros(width))
    model.train()
    projector = Projector(width, rng=rng, identity=False)
    values = importance(model, forget.images, structure, kind=kind, rng=rng, projector=projector)
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert [v.mean().item() for v in values] == pytest.approx([1.0] * len(values), abs=1e-4)


def test_a_parameter_without_influence_has_no_importance(tiny, rng):
    structure = Structure(torch.zeros(1, 2), torch.eye(2), torch.zeros(2))
    (values,) = importance(tiny, torch.rand(2, 1, 1, 2, generator=rng), structure, kind="gauss_newton", rng=rng)
    assert values.tolist() == [[0.0, 0.0], [0.0, 0.0]]
