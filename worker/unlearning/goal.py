"""The goal of a run: when it may stop, and the margin that each forget image is to reach."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.config import Config
from worker.unlearning.frozen_trunk import Tail
from worker.unlearning.metrics import batch_margins
from worker.unlearning.split import SplitClassifier
from worker.unlearning.views import training_views

_WATCHED = 512  # training views to watch, at least one per image


@dataclass(frozen=True)
class Aims:
    """The batch of the deletion term in one update."""

    inputs: Tensor  # (N, …) what the trained part of the network takes
    labels: Tensor  # (N,)
    margins: Tensor | None  # (N,) in logits, what they shall have; None = they shall be misclassified


@dataclass(frozen=True)
class Progress:
    """How far a model has come towards the goal, measured through h(g(x)) in float32."""

    forgotten: float  # share of forget images misclassified
    held: bool  # every image has the margin that is asked for
    views: float | None  # share of watched views misclassified; None where they do not matter

    def reaches(self, view_target: float) -> bool:
        """Whether every image holds its margin and at least `view_target` of the views are misclassified."""
        return self.held and (self.views is None or self.views >= view_target)


@dataclass(frozen=True)
class Goal:
    """What is asked of each forget image, and the views of them that are watched: the same ones for the whole run.

    Without `targets` (goal "misclassify") a margin has to fall to −`tolerance`; with them (goal "indistinguishable")
    it has to come within `tolerance` of its target.
    """

    forget: Batch
    watched: Batch | None
    targets: Tensor | None  # (k,) margins in logits
    tolerance: float  # logits

    def progress(self, model: SplitClassifier) -> Progress:
        """Measure `model`. A NaN counts as not forgotten."""
        exact = batch_margins(model, self.forget)
        views = None if self.watched is None else batch_margins(model, self.watched)
        wrong = exact < 0
        held = wrong & (exact <= -self.tolerance) if self.targets is None else self._on_target(exact)
        return Progress(
            forgotten=wrong.double().mean().item(),
            held=bool(held.all()),
            views=None if views is None else (views < 0).double().mean().item(),
        )

    def _on_target(self, margins: Tensor) -> Tensor:
        assert self.targets is not None
        return (margins - self.targets).abs() <= self.tolerance


def make_goal(
    model: SplitClassifier, forget: Batch, *, unseen: Tensor | None, config: Config, rng: torch.Generator
) -> Goal:
    """Set the goal; `model` must still be the original.

    Args:
        unseen: the margins (n,) that `model` has on images it was not trained on, for the goal "indistinguishable";
            None takes those on random views of the forget images, on which it is not as sure as on the images.
    """
    if config.goal == "misclassify":
        watched = _views(forget, rng=rng) if config.scope == "views" else None
        return Goal(forget, watched, None, config.stop_margin)
    if unseen is None:
        unseen = batch_margins(model, _views(forget, rng=rng))
    targets = unseen_margins(batch_margins(model, forget), unseen)
    return Goal(forget, None, targets, config.target_tolerance)


def take_aim(tail: Tail, goal: Goal, *, config: Config, rng: torch.Generator) -> Iterator[Aims]:
    """Endless batches for the deletion term, of up to `config.forget_batch` images; "views": a quarter unchanged.

    Views are new each time: a fixed set would be memorised, and other views of the same image not forgotten.
    The caller keeps the model in eval mode while it takes the next.
    """
    forget, views = goal.forget, config.scope == "views"
    size = config.forget_batch // 4 if views else min(len(forget), config.forget_batch)
    exact = tail.inputs(forget.images)
    varied = shuffled(len(forget), config.forget_batch - size, rng=rng, like=forget.labels)

    def at(index: Tensor, inputs: Tensor) -> Aims:
        return Aims(inputs, forget.labels[index], None if goal.targets is None else goal.targets[index])

    for index in shuffled(len(forget), size, rng=rng, like=forget.labels):
        if views:
            varied_index = next(varied)
            inputs = tail.inputs(training_views(forget.images[varied_index], rng=rng))
            yield at(torch.cat([index, varied_index]), torch.cat([exact[index], inputs]))
        else:
            yield at(index, exact[index])


def unseen_margins(forget: Tensor, unseen: Tensor) -> Tensor:
    """The margins (k,) that the forget images shall have, given what they have (k,) and unseen images have (n,).

    Together they are distributed as the unseen ones: the i-th lowest of the k gets the quantile (i − ½)/k. Images keep
    their order, so that each moves as little as possible.
    """
    k = len(forget)
    levels = (torch.arange(k, device=forget.device, dtype=forget.dtype) + 0.5) / k
    targets = torch.empty_like(forget)
    targets[forget.argsort()] = torch.quantile(unseen.to(forget), levels)
    return targets


def _views(forget: Batch, *, rng: torch.Generator) -> Batch:
    repeats = -(-_WATCHED // len(forget))
    return replace(
        forget,
        images=training_views(forget.images.repeat(repeats, 1, 1, 1), rng=rng),
        labels=forget.labels.repeat(repeats),
    )
