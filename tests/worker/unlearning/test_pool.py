import dataclasses
import time

import pytest
import torch
from torch import nn

from worker.unlearning import DEFAULT, SplitClassifier
from worker.unlearning.frozen_trunk import Tail
from worker.unlearning.pool import Pool, build_pool
from worker.unlearning.surrogates import mixup

SMALL = dataclasses.replace(
    DEFAULT,
    mixup=258,
    cutmix=5,
    collage=2,
    bent=3,
    inverted=4,
    inverted_views=1,
    inversion_iterations=2,
    adversarial=2,
    adversarial_iterations=2,
)


def build(model, forget, config, rng, deadline=float("inf")):
    steps, generator = (
        [],
        build_pool(model, Tail(model, forget.images[:2]), forget, config=config, rng=rng, deadline=deadline),
    )
    while True:
        try:
            steps.append(next(generator))
        except StopIteration as end:
            return end.value, steps


def test_it_reports_every_chunk_until_all_are_made(model, forget, rng):
    pool, steps = build(model, forget, SMALL, rng)
    assert [s.step for s in steps] == [256, 258, 263, 265, 268, 272, 276, 308]
    assert {(s.phase, s.total) for s in steps} == {("surrogates", 308)}
    assert len(pool.inputs) == len(pool.labels) == len(pool.logits) == len(pool.features) == 308


def test_it_holds_what_the_original_model_says_of_what_it_stores(model, forget, rng):
    pool, _ = build(model, forget, SMALL, rng)
    with torch.no_grad():
        features, logits = model.split(pool.inputs)
    torch.testing.assert_close(pool.features, features)
    torch.testing.assert_close(pool.logits, logits)
    assert torch.equal(pool.labels[:276], logits[:276].argmax(1))
    assert (pool.labels[276:] != forget.labels.repeat(2)).all()
    assert pool.inverted.nonzero()[:, 0].tolist() == [268, 269, 270, 271]


def test_mixtures_are_inverted_towards_the_class_that_they_look_like(model, forget, rng, monkeypatch):
    aimed = []

    def inverted(network, start, classes, *, iterations):
        aimed.append(torch.equal(classes, network(start).argmax(1)))
        return start

    monkeypatch.setattr("worker.unlearning.pool.inverted", inverted)
    build(model, forget, dataclasses.replace(SMALL, inverted=300, bfloat16=False), rng)
    assert aimed == [True, True]


def test_churn_is_the_share_of_inverted_surrogates_with_another_label():
    """One of four, whatever becomes of the others."""
    logits = torch.eye(5)
    now = logits[[0, 1, 2, 0, 0]]
    pool = Pool(now, logits.argmax(1), logits, logits, inverted=torch.tensor([True, True, True, True, False]))
    assert pool.churn(nn.Identity()) == 0.25
    assert dataclasses.replace(pool, inverted=torch.zeros(5, dtype=torch.bool)).churn(nn.Identity()) == 0


def test_past_the_deadline_one_chunk_is_made(model, forget, rng):
    pool, _ = build(model, forget, SMALL, rng, deadline=time.monotonic() - 1)
    assert len(pool.inputs) == 256


def test_no_surrogates_at_all_are_refused(model, forget, rng):
    none = dataclasses.replace(DEFAULT, mixup=0, cutmix=0, collage=0, bent=0, inverted=0)
    with pytest.raises(ValueError, match="surrogate"):
        build(model, forget, none, rng)


def test_without_statistics_to_go_by_nothing_is_inverted(forget, rng):
    """A network without BatchNorm gets the mixtures as they are: moved towards a class only, they would be attacks."""
    linear = SplitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), mean=[0.0], std=[1.0])
    only = dataclasses.replace(DEFAULT, mixup=0, cutmix=0, collage=0, bent=0, inverted=5, moved=1.0)
    pool, _ = build(linear, forget, only, torch.Generator().manual_seed(3))
    assert torch.equal(pool.inputs, mixup(forget.images, 5, rng=torch.Generator().manual_seed(3)))
    assert not pool.inverted.any()
