"""What all of them have in common."""

import copy
import dataclasses

import pytest
import torch

from benchmarks.comparators import (
    L2UL,
    RAWP,
    Adv,
    BoundaryShrink,
    Delete,
    Fisher,
    NegGrad,
    Oracle,
    adv,
    boundary_shrink,
    delete,
    fisher,
    l2ul,
    neggrad,
    oracle,
    rawp,
)
from worker.unlearning import Batch, accuracy, all_finite, forget_accuracy

ATTACK = {"adversarial": 8, "adversarial_eps": 1.0, "adversarial_step": 0.2, "adversarial_iterations": 10}
ITERATIVE = {
    neggrad: NegGrad(lr=1e-2),
    rawp: RAWP(size=0.02),
    adv: Adv(lr=1e-2, **ATTACK),
    l2ul: L2UL(lr=1e-2, **ATTACK),
    oracle: Oracle(lr=1e-2, retain_batch=64),
    boundary_shrink: BoundaryShrink(lr=1e-2),
    delete: Delete(lr=1e-2),
}
EVERY = {**ITERATIVE, fisher: Fisher(strength=1e-4, images=16)}


def named(methods):
    return [pytest.param(method, config, id=method.__name__) for method, config in methods.items()]


@pytest.fixture
def few(forget):
    """Some of these methods collapse before they turn the last of many images."""
    return Batch(forget.images[:4], forget.labels[:4])


@pytest.fixture
def start(digits):
    """Begin a method; those that see retained images get some."""
    train, _ = digits
    retain = {"retain": Batch(train.images[16:], train.labels[16:])}

    def begin(method, model, forget, config, *, seed=0):
        extra = retain if method in (oracle, fisher) else {}
        return method(model, forget, config=config, rng=torch.Generator().manual_seed(seed), **extra)

    return begin


@pytest.mark.parametrize(("method", "config"), named(ITERATIVE))
def test_a_run_stops_as_soon_as_every_image_is_misclassified(model, few, start, method, config):
    seen = []
    for step in start(method, model, few, config):
        if step.phase == "unlearn":
            seen.append(step)
            assert step.forget_accuracy == forget_accuracy(model, few)
    *updates, end = seen
    assert [s.step for s in updates] == list(range(1, len(updates) + 1))
    assert all(s.forget_accuracy < 100 for s in updates[:-1])
    assert updates[-1].forget_accuracy == end.forget_accuracy == 100.0
    assert (end.step, end.total) == (len(updates), config.max_steps)


@pytest.mark.parametrize(("method", "config"), named(ITERATIVE))
def test_a_run_ends_at_its_cap(model, forget, start, method, config):
    slow = {"size": 1e-6} if method is rawp else {"lr": 1e-8}
    steps = list(start(method, model, forget, dataclasses.replace(config, max_steps=3, **slow)))
    assert [s.step for s in steps if s.phase == "unlearn"] == [1, 2, 3, 3]
    assert steps[-1].forget_accuracy < 100


@pytest.mark.parametrize(("method", "config"), named(ITERATIVE))
def test_the_time_limit_ends_a_run_after_one_update(model, forget, start, method, config):
    steps = list(start(method, model, forget, dataclasses.replace(config, max_seconds=0.0)))
    assert [s.step for s in steps if s.phase == "unlearn"] == [1, 1]
    assert [s.step for s in steps if s.phase == "surrogates"] == ([128] if method in (adv, l2ul) else [])


@pytest.mark.parametrize(("method", "config"), named(ITERATIVE))
def test_a_loss_that_is_no_number_ends_a_run(model, forget, start, method, config):
    diverging = {"size": 1e30} if method is rawp else {"lr": 1e30}
    steps = list(start(method, model, forget, dataclasses.replace(config, **diverging)))
    assert steps[-1].step < 10
    assert steps[-1].forget_accuracy < 100
    assert not all_finite(model)


@pytest.mark.parametrize(("method", "config"), named(EVERY))
def test_the_same_seed_gives_the_same_weights(model, few, start, method, config):
    if method is not fisher:
        config = dataclasses.replace(config, max_steps=3, forget_batch=2)
    again, other = copy.deepcopy(model), copy.deepcopy(model)
    for m, seed in ((model, 3), (again, 3), (other, 4)):
        list(start(method, m, few, config, seed=seed))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("method", "config"), named(EVERY))
def test_a_consumer_may_stop_at_any_time(model, forget, start, method, config):
    model.train()
    steps = start(method, model, forget, config)
    next(steps)
    next(steps)
    steps.close()
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(("method", "config"), named(ITERATIVE))
def test_batch_norm_moves_unless_it_is_frozen(model, forget, start, method, config, frozen):
    statistics = {name: t.clone() for name, t in model.named_buffers()}
    list(start(method, model, forget, dataclasses.replace(config, max_steps=1, frozen_batch_norm=frozen)))
    assert all(torch.equal(statistics[name], t) for name, t in model.named_buffers()) == frozen


@pytest.mark.parametrize("method", [m for m in ITERATIVE if m is not rawp])
def test_images_that_are_already_wrong_need_no_update(model, forget, start, method):
    wrong = Batch(forget.images, (forget.labels + 1) % 10)
    before = copy.deepcopy(model.state_dict())
    steps = list(start(method, model, wrong, ITERATIVE[method]))
    assert [(s.step, s.forget_accuracy) for s in steps if s.phase == "unlearn"] == [(0, 100.0)]
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_retained_images_keep_what_gradient_ascent_alone_destroys(model, forget, start, digits):
    _, test = digits
    ascended = copy.deepcopy(model)
    for m, method in ((model, oracle), (ascended, neggrad)):
        list(start(method, m, forget, ITERATIVE[method]))
    assert accuracy(model, test) > accuracy(ascended, test)
