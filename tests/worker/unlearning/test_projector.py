import torch

from worker.unlearning.projector import Projector


def test_it_starts_as_the_identity(rng):
    features = torch.randn(3, 4, generator=rng)
    assert torch.equal(Projector(4, rng=rng)(features), features)


def test_it_does_not_have_to(rng):
    features = torch.randn(3, 4, generator=rng)
    assert not torch.equal(Projector(4, rng=rng, identity=False)(features), features)


def test_it_adds_two_linear_layers_with_a_relu_between(rng):
    """g = (1, −2): W₁ g = (−2, 1), ReLU gives (0, 1), W₂ turns it into (3, 0)."""
    projector = Projector(2, rng=rng)
    with torch.no_grad():
        projector.W1.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        projector.W2.copy_(torch.tensor([[0.0, 3.0], [0.0, 0.0]]))
    assert projector(torch.tensor([[1.0, -2.0]])).tolist() == [[4.0, -2.0]]
