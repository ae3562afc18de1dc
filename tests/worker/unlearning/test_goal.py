from dataclasses import replace

import pytest
import torch
from torch import nn

from worker.unlearning import DEFAULT, Batch, SplitClassifier, batch_margins
from worker.unlearning.frozen_trunk import Tail
from worker.unlearning.goal import make_goal, take_aim, unseen_margins


@pytest.fixture
def two_pixels():
    """Logits are the two pixels, so that the margin of class 0 is their difference."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(2))
    return SplitClassifier(network, mean=[0.0], std=[1.0]).eval()


def batch(*margins):
    images = torch.tensor([[0.5 + m / 2, 0.5 - m / 2] for m in margins]).view(-1, 1, 1, 2)
    return Batch(images, torch.zeros(len(margins), dtype=torch.int64))


def test_targets_are_the_quantiles_of_unseen_images_in_the_order_of_the_forget_images():
    """Levels ¼ and ¾ of 0, 1, 2, 3, 4 are 1 and 3; the surer image gets the higher one."""
    assert unseen_margins(torch.tensor([9.0, 5.0]), torch.tensor([4.0, 0.0, 3.0, 1.0, 2.0])).tolist() == [3.0, 1.0]


def test_one_image_gets_the_median():
    assert unseen_margins(torch.tensor([9.0]), torch.tensor([-1.0, 0.5, 7.0])).tolist() == [0.5]


@pytest.mark.parametrize(("margins", "held"), [((-0.1, -0.06), True), ((-0.1, -0.04), False), ((-0.1, 0.2), False)])
def test_misclassified_means_past_the_boundary_by_the_margin(two_pixels, rng, margins, held):
    goal = make_goal(two_pixels, batch(*margins), unseen=None, config=replace(DEFAULT, stop_margin=0.05), rng=rng)
    assert goal.progress(two_pixels).held is held


def test_indistinguishable_means_as_sure_as_of_unseen_images(two_pixels, rng):
    config = replace(DEFAULT, goal="indistinguishable", target_tolerance=0.1)
    unseen = torch.tensor([0.0, 0.2, 0.4])  # median 0.2
    near, far = (
        make_goal(two_pixels, batch(m), unseen=unseen, config=config, rng=rng).progress(two_pixels)
        for m in (0.25, 0.35)
    )
    assert (near.held, far.held) == (True, False)
    assert near.forgotten == 0.0


def test_without_unseen_images_their_own_variations_are_the_standard(model, forget, rng):
    goal = make_goal(model, forget, unseen=None, config=replace(DEFAULT, goal="indistinguishable"), rng=rng)
    assert goal.targets.shape == (16,)
    assert goal.targets.mean() < batch_margins(model, forget).mean()


@pytest.mark.parametrize(("forget_batch", "images"), [(8, 8), (64, 16)])
def test_in_scope_exact_an_update_sees_each_image_once(model, forget, rng, forget_batch, images):
    config = replace(DEFAULT, forget_batch=forget_batch)
    goal = make_goal(model, forget, unseen=None, config=config, rng=rng)
    drawn = take_aim(Tail(model, forget.images[:2]), goal, config=config, rng=rng)
    seen = [next(drawn) for _ in range(16 // images)]
    assert {len(aims.inputs) for aims in seen} == {images}
    assert sorted(x.sum().item() for aims in seen for x in aims.inputs) == sorted(x.sum().item() for x in forget.images)


def test_in_scope_views_a_quarter_are_the_images_and_the_rest_are_new_views_each_time(model, forget, rng):
    config = replace(DEFAULT, scope="views", forget_batch=64)
    goal = make_goal(model, forget, unseen=None, config=config, rng=rng)
    drawn = take_aim(Tail(model, forget.images[:2]), goal, config=config, rng=rng)
    first, second = next(drawn), next(drawn)
    known = {x.numpy().tobytes(): y.item() for x, y in zip(forget.images, forget.labels, strict=True)}
    for aims in (first, second):
        assert [known[x.numpy().tobytes()] for x in aims.inputs[:16]] == aims.labels[:16].tolist()
        assert sorted(aims.labels[16:].tolist()) == sorted(forget.labels.repeat(3).tolist())
    before, after = ({x.numpy().tobytes() for x in aims.inputs[16:]} for aims in (first, second))
    assert len(before & after) < 12  # of 48; now and then a view is the image


def test_views_have_the_target_of_their_image(model, forget, rng):
    config = replace(DEFAULT, scope="views", forget_batch=64, goal="indistinguishable")
    goal = make_goal(model, forget, unseen=None, config=config, rng=rng)
    aims = next(take_aim(Tail(model, forget.images[:2]), goal, config=config, rng=rng))
    assert sorted(aims.margins[16:].tolist()) == sorted(goal.targets.repeat(3).tolist())
