import pytest
import torch

from worker.unlearning.anchors import Structure, centred, grounded_map, make_structure, orthonormal


def test_affinity_is_the_cosine_between_grounded_features_and_anchors():
    """(3, 4) + 1 around the centre 1, mapped by the identity: direction (0.6, 0.8)."""
    structure = Structure(torch.eye(2), torch.eye(2), torch.ones(2))
    torch.testing.assert_close(structure.affinity(torch.tensor([[4.0, 5.0]])), torch.tensor([[0.6, 0.8]]))


def test_raw_anchors_of_the_features_width_give_the_papers_affinity(rng):
    """S = norm(g) Aᵀ of Eq. 1: g = (3, 4), a = (1, 0) and (0, 2) / 2."""
    anchors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    structure = make_structure(anchors, rows=torch.rand(2, 2), centre=torch.ones(2), raw=True, rng=rng)
    torch.testing.assert_close(structure.affinity(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


def test_raw_anchors_of_another_width_meet_an_orthonormal_map(rng):
    structure = make_structure(torch.rand(3, 7), rows=torch.rand(3, 4), centre=torch.ones(4), raw=True, rng=rng)
    torch.testing.assert_close(structure.map.T @ structure.map, torch.eye(4))


def test_centring_subtracts_the_mean_and_normalises():
    rows = torch.tensor([[3.0, 4.0], [-3.0, -4.0]]) + 10
    torch.testing.assert_close(centred(rows), torch.tensor([[0.6, 0.8], [-0.6, -0.8]]))


def test_the_grounded_map_sends_class_directions_to_their_anchors():
    """W = (2, 0), (0, 1); A = e3, e1. Without a ridge M = A W⁻ᵀ; the ridge takes 0.25 % from the weaker direction."""
    W = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    A = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    expected = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.5, 0.0]])
    torch.testing.assert_close(grounded_map(W, A), expected, rtol=0, atol=3e-3)


def test_each_class_direction_has_its_highest_affinity_with_its_own_anchor(rng):
    rows, anchors = torch.randn(10, 64, generator=rng), torch.randn(10, 512, generator=rng) + 3
    structure = make_structure(anchors, rows=rows, centre=torch.zeros(64), raw=False, rng=rng)
    assert structure.affinity(rows - rows.mean(0)).argmax(1).tolist() == list(range(10))


def test_without_anchors_the_classifiers_rows_serve(rng):
    rows = torch.randn(4, 6, generator=rng)
    structure = make_structure(None, rows=rows, centre=torch.zeros(6), raw=False, rng=rng)
    torch.testing.assert_close(structure.anchors, centred(rows))


def test_a_classifier_without_directions_gets_an_orthonormal_map(rng):
    structure = make_structure(torch.rand(3, 4), rows=torch.ones(3, 2), centre=torch.ones(2), raw=False, rng=rng)
    torch.testing.assert_close(structure.map.T @ structure.map, torch.eye(2))


@pytest.mark.parametrize(("a", "d"), [(3, 5), (5, 3)])
def test_an_orthonormal_map_keeps_what_fits(a, d, rng):
    Q = orthonormal(a, d, rng=rng, like=torch.zeros(1))
    assert Q.shape == (a, d)
    torch.testing.assert_close(Q @ Q.T if a < d else Q.T @ Q, torch.eye(3))


def test_anchors_must_be_one_per_class_and_finite(rng):
    with pytest.raises(ValueError, match="3 classes"):
        make_structure(torch.rand(2, 4), rows=torch.rand(3, 4), centre=torch.ones(4), raw=False, rng=rng)
    with pytest.raises(ValueError, match="finite"):
        make_structure(torch.full((3, 4), torch.inf), rows=torch.rand(3, 4), centre=torch.ones(4), raw=False, rng=rng)
