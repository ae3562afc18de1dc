import dataclasses
import time

import pytest
import torch

from worker.unlearning import DEFAULT
from worker.unlearning.pool import build_pool

SMALL = dataclasses.replace(DEFAULT, mixup=130, cutmix=5, dead_leaves=3, adversarial=2, adversarial_iterations=2)


def build(model, forget, config, rng, deadline=float("inf")):
    steps, generator = [], build_pool(model, forget, config=config, rng=rng, deadline=deadline)
    while True:
        try:
            steps.append(next(generator))
        except StopIteration as end:
            return end.value, steps


def test_it_reports_every_chunk_until_all_are_made(model, forget, rng):
    pool, steps = build(model, forget, SMALL, rng)
    assert [s.step for s in steps] == [128, 130, 135, 138, 170]
    assert {(s.phase, s.total) for s in steps} == {("surrogates", 170)}
    assert len(pool.pixels) == len(pool.labels) == len(pool.logits) == len(pool.features) == 170


def test_it_holds_what_the_original_model_says_of_the_stored_pixels(model, forget, rng):
    pool, _ = build(model, forget, SMALL, rng)
    with torch.no_grad():
        features, logits = model.split(pool.images(torch.arange(170)))
    torch.testing.assert_close(pool.features, features)
    torch.testing.assert_close(pool.logits, logits)
    assert torch.equal(pool.labels[:138], logits[:138].argmax(1))
    assert (pool.labels[138:] != forget.labels.repeat(2)).all()


def test_past_the_deadline_one_chunk_is_made(model, forget, rng):
    pool, _ = build(model, forget, SMALL, rng, deadline=time.monotonic() - 1)
    assert len(pool.pixels) == 128


def test_no_surrogates_at_all_are_refused(model, forget, rng):
    none = dataclasses.replace(DEFAULT, mixup=0, cutmix=0, dead_leaves=0, adversarial=0)
    with pytest.raises(ValueError, match="surrogate"):
        build(model, forget, none, rng)
