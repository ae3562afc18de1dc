import pytest
import torch

from worker.unlearning.surrogates import adversarial, cutmix, dead_leaves, mixup, wrong_classes

MAKERS = [mixup, cutmix, dead_leaves]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 3, 32, 32), (2, 3, 9, 14)])
def test_every_maker_gives_images_of_the_same_size(make, shape, rng):
    made = make(torch.rand(shape, generator=rng), 7, rng=rng)
    assert made.shape == (7, *shape[1:])
    assert made.min() >= 0
    assert made.max() <= 1
    assert len(made.flatten(1).unique(dim=0)) == 7


@pytest.mark.parametrize("make", MAKERS)
def test_every_maker_repeats_with_the_seed(make):
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    first, again = (make(images, 4, rng=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)


def test_dead_leaves_contain_no_pixel_of_the_forget_set(rng):
    black, white = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    from_black, from_white = (dead_leaves(x, 3, rng=torch.Generator().manual_seed(1)) for x in (black, white))
    assert torch.equal(from_black, from_white)


def test_wrong_classes_are_the_runner_up_or_uniform_and_never_the_label(model, forget, rng):
    images, labels = forget.images.repeat(50, 1, 1, 1), forget.labels.repeat(50)
    targets = wrong_classes(model, images, labels, rng=rng)
    runner_up = model(images).scatter(1, labels[:, None], -torch.inf).argmax(1)
    assert (targets != labels).all()
    assert 0.5 < (targets == runner_up).double().mean() < 0.62  # ½ + ½ · 1/9


def test_attacks_reach_their_class_inside_the_ball(model, forget, rng):
    attacked, targets = adversarial(model, forget.images, forget.labels, eps=3.0, step=0.3, iterations=20, rng=rng)
    assert (attacked - forget.images).flatten(1).norm(dim=1).max() <= 3.0001
    assert (attacked.min() >= 0, attacked.max() <= 1) == (True, True)
    assert (model(attacked).argmax(1) == targets).double().mean() > 0.9
    assert all(p.grad is None for p in model.parameters())
