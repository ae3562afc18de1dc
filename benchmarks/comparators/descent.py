"""The one loop behind the comparators: one update after the other until every forget image is misclassified."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.metrics import forget_accuracy
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step

Terms = Callable[[Tensor], dict[str, Tensor]]
"""The named terms of one update's loss, for the forget images at an index (n,)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every iterative comparator has; the batch is that of the run scripts of Cha et al. (AAAI 2024)."""

    forget_batch: int = 32  # images per update, all of them where they are fewer
    frozen_batch_norm: bool = False  # False as in the sources: batch statistics move, dropout is active
    max_steps: int = 2000  # updates
    max_seconds: float = 3600.0  # whole run, attacks and measurements included


@dataclass(frozen=True, kw_only=True)
class Descent(Run):
    """Stochastic gradient descent with the values of the same scripts."""

    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4


def sgd(model: SplitClassifier, config: Descent) -> torch.optim.SGD:
    """The optimiser that `config` describes, over all parameters."""
    return torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def iterate(
    model: SplitClassifier,
    forget: Batch,
    terms: Terms,
    update: Callable[[], object],
    *,
    config: Run,
    rng: torch.Generator,
    deadline: float,
) -> Iterator[Step]:
    """Call `update` on the gradients of the sum of `terms`; yield after each, and at last the forget accuracy.

    Ends as soon as every forget image is misclassified in eval mode, which is tested before the first update and
    after every one; after `config.max_steps` updates; after `deadline` (of `time.monotonic`), though not before the
    first update; and where the loss stops being a number.
    """
    indices = shuffled(len(forget), min(len(forget), config.forget_batch), rng=rng, like=forget.labels)
    accuracy, step, ended = forget_accuracy(model, forget), 0, config.max_steps <= 0
    while accuracy < 100 and not ended:
        step += 1
        model.train(not config.frozen_batch_norm)
        losses = terms(next(indices))
        model.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        update()

        values = {name: loss.item() for name, loss in losses.items()}
        ended = step == config.max_steps or time.monotonic() > deadline or not math.isfinite(sum(values.values()))
        accuracy = forget_accuracy(model, forget)
        yield Step(phase="unlearn", step=step, total=config.max_steps, forget_accuracy=accuracy, terms=values)
    yield Step(phase="unlearn", step=step, total=config.max_steps, forget_accuracy=accuracy)


@contextmanager
def leaving_clean(model: SplitClassifier) -> Iterator[None]:
    """Eval mode inside; finished, failed or closed, the model is left in eval mode and holds no gradients."""
    model.eval()
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()
