import pytest
import torch

from benchmarks.comparators import Adv, adv
from tests.benchmarks.comparators.linear import FORGET, B, W, assert_weights, classifier, cross_entropy_gradient
from worker.unlearning import Batch
from worker.unlearning.surrogates import adversarial

CONFIG = Adv(
    lr=0.1,
    weight_decay=0.0,
    max_steps=1,
    adversarial=3,
    adversarial_eps=0.5,
    adversarial_step=0.1,
    adversarial_iterations=5,
)


def attacks():
    """What the same seed attacks first: three times both images."""
    rng = torch.Generator().manual_seed(0)
    images, labels = FORGET.images.repeat(3, 1, 1, 1), FORGET.labels.repeat(3)
    return Batch(*adversarial(classifier(), images, labels, eps=0.5, step=0.1, iterations=5, rng=rng))


def test_an_update_weighs_the_two_cross_entropies_by_their_batches():
    """Two forget images and six attacks: −¼ CE_f + ¾ CE_a."""
    model = classifier()
    steps = list(adv(model, FORGET, config=CONFIG, rng=torch.Generator().manual_seed(0)))
    forget_W, forget_B = cross_entropy_gradient(W, B, FORGET)
    attack_W, attack_B = cross_entropy_gradient(W, B, attacks())
    assert_weights(
        model, W - 0.1 * (-0.25 * forget_W + 0.75 * attack_W), B - 0.1 * (-0.25 * forget_B + 0.75 * attack_B)
    )
    assert set(steps[1].terms) == {"deletion", "retention"}


def test_attacks_are_reported_before_updates(rng):
    many = Batch(FORGET.images.repeat(50, 1, 1, 1), FORGET.labels.repeat(50))
    steps = list(adv(classifier(), many, config=CONFIG, rng=rng))
    assert [(s.phase, s.step, s.total) for s in steps] == [
        ("surrogates", 128, 300),
        ("surrogates", 256, 300),
        ("surrogates", 300, 300),
        ("unlearn", 1, 1),
        ("unlearn", 1, 1),
    ]


def test_no_attack_image_is_an_impossible_request(rng):
    model = classifier().train()
    with pytest.raises(ValueError, match="at least one attack image"):
        list(adv(model, FORGET, config=Adv(adversarial=0), rng=rng))
    assert not model.training
