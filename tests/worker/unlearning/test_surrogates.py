import pytest
import torch
from torch import nn

from worker.unlearning import SplitClassifier
from worker.unlearning.surrogates import (
    _mismatch,
    adversarial,
    bent,
    carries_statistics,
    collage,
    cutmix,
    inverted,
    mixup,
    wrong_classes,
)

MAKERS = [mixup, cutmix, collage, bent]


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


def test_a_bent_image_is_one_image_with_its_paper_and_its_ink(rng):
    """Of a red and a green picture, each with a white dot in the middle, none becomes yellow, and no dot gets lost."""
    pictures = torch.zeros(2, 3, 32, 32)
    pictures[0, 0] = pictures[1, 1] = 0.8
    pictures[:, :, 14:18, 14:18] = 1.0
    made = bent(pictures, 64, rng=rng)
    red, green, _ = made[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].unbind(1)  # (64, 4), the corners
    assert (red * green == 0).all()
    torch.testing.assert_close(red + green, torch.full((64, 4), 0.8))
    assert (made[:, 2].flatten(1).amax(1) > 0.3).all()


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


def test_inversion_reaches_the_statistics_in_front_of_batch_norm():
    """Two black pixels in front of a BatchNorm that saw mean ½ and almost no variance: they turn gray."""
    norm = nn.BatchNorm2d(1)
    with torch.no_grad():
        norm.running_mean.fill_(0.5)
        norm.running_var.fill_(1e-3)
    model = SplitClassifier(nn.Sequential(norm, nn.Flatten(), nn.Linear(2, 2)), mean=[0.0], std=[1.0]).eval()
    made = inverted(model, torch.zeros(2, 1, 1, 2), torch.zeros(2, dtype=torch.int64), iterations=300)
    assert made.mean().item() == pytest.approx(0.5, abs=0.02)


def test_inversion_moves_images_to_the_classes_and_the_statistics(model, forget, rng):
    start, classes = mixup(forget.images, 64, rng=rng), torch.arange(64) % 10
    made = inverted(model, start, classes, iterations=20)

    def apart(images):
        with _mismatch(model) as layers:
            model(images)
        return torch.stack(layers).mean()

    assert (model(made).argmax(1) == classes).double().mean() > 0.75
    assert apart(made) < apart(start)
    assert all(p.grad is None for p in model.parameters())
    assert (made.min() >= 0, made.max() <= 1) == (True, True)


def test_only_running_statistics_can_be_aimed_at(model):
    assert carries_statistics(model)
    assert not carries_statistics(nn.Sequential(nn.LayerNorm(3), nn.BatchNorm2d(3, track_running_stats=False)))
