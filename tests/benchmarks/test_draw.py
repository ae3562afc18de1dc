"""Which images a run forgets, and which it is measured on."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.run import Run, draw
from benchmarks.tables import TABLES

LABELS = np.arange(1000) % 10
RUN = Run(dataset="digits", model="resnet8", method="structguard", anchors="rows", k=16, seed=0)


def test_every_method_forgets_the_same_images():
    runs = [
        variant.run(dataset="digits", model="resnet8", k=16, seed=3, device="cpu")
        for variant in TABLES["table2"].variants.values()
    ]
    assert len({tuple(draw(LABELS, run).forget) for run in runs}) == 1


def test_the_images_are_the_first_of_the_seeds_permutation_so_more_of_them_include_the_fewer():
    published = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:64].tolist()
    assert draw(LABELS, dataclasses.replace(RUN, k=64)).forget.tolist() == published
    assert draw(LABELS, RUN).forget.tolist() == published[:16]


def test_another_seed_forgets_other_images():
    assert set(draw(LABELS, RUN).forget) != set(draw(LABELS, dataclasses.replace(RUN, seed=1)).forget)


def test_retained_images_are_not_forgotten_ones_and_those_measured_are_not_those_given():
    parts = draw(LABELS, RUN)
    everything = np.concatenate([parts.forget, parts.measured, parts.for_method])
    assert len(everything) == len(set(everything)) == 1000
    assert len(parts.measured) == (1000 - 16) // 2


def test_a_whole_class_can_be_drawn_and_the_seed_says_which():
    run = dataclasses.replace(RUN, drawn="from one class", k=100, seed=13)
    assert set(LABELS[draw(LABELS, run).forget]) == {3}


@pytest.mark.parametrize("asked", [{"k": 1001}, {"k": 16, "rounds": 3}, {"k": 101, "drawn": "from one class"}])
def test_more_images_than_there_are_or_unequal_rounds_are_refused(asked):
    with pytest.raises(ValueError, match="cannot be drawn"):
        draw(LABELS, dataclasses.replace(RUN, **asked))
