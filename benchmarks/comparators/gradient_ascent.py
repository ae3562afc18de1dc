"""NEGGRAD: climb the loss of the forget set, and nothing else."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.comparators.descent import Descent, iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch
from worker.unlearning.losses import ascent
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class NegGrad(Descent):
    """Nothing but the descent."""


def neggrad(model: SplitClassifier, forget: Batch, *, config: NegGrad, rng: torch.Generator) -> Iterator[Step]:
    """Minimise −CE(f(x_f), y_f) by SGD; a generator like `unlearn`.

    Source: the negative-gradient baseline of Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net"
    (CVPR 2020), with the settings of "Case 1" in the code of Cha et al. (AAAI 2024). That code tests for its goal
    after each pass over the forget set; we do after every update, as its other cases do, so it overshoots less.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        yield from iterate(
            model,
            forget,
            lambda index: {"deletion": ascent(model(forget.images[index]), forget.labels[index])},
            sgd(model, config).step,
            config=config,
            rng=rng,
            deadline=deadline,
        )
