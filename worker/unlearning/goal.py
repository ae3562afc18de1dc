"""When a run may stop: every forget image misclassified with a margin and, in scope "views", its variations too."""

from dataclasses import dataclass

import torch

from worker.unlearning.batch import Batch
from worker.unlearning.config import Config
from worker.unlearning.metrics import batch_margins
from worker.unlearning.split import SplitClassifier
from worker.unlearning.views import training_views

_WATCHED = 256  # training views to watch, at least one per image


@dataclass(frozen=True)
class Progress:
    """How far a model is, measured through h(g(x)) in float32."""

    forgotten: float  # share of forget images misclassified
    held: bool  # all of them by at least the margin that `Config.stop_margin` asks for
    views: float | None  # share of watched views misclassified; None in scope "exact"

    def reaches(self, view_target: float) -> bool:
        """Whether every image holds its margin and at least `view_target` of the views are misclassified."""
        return self.held and (self.views is None or self.views >= view_target)


@dataclass(frozen=True)
class Goal:
    """The forget set, and the views of it that are watched: the same ones for the whole run."""

    forget: Batch
    watched: Batch | None
    stop_margin: float  # logits

    def progress(self, model: SplitClassifier) -> Progress:
        """Measure `model`. A NaN counts as not forgotten."""
        exact = batch_margins(model, self.forget)
        views = None if self.watched is None else batch_margins(model, self.watched)
        return Progress(
            forgotten=(exact < 0).double().mean().item(),
            held=bool(((exact < 0) & (exact <= -self.stop_margin)).all()),
            views=None if views is None else (views < 0).double().mean().item(),
        )


def make_goal(forget: Batch, *, config: Config, rng: torch.Generator) -> Goal:
    """Draw the watched views if the scope asks for them."""
    if config.scope == "exact":
        return Goal(forget, None, config.stop_margin)
    repeats = -(-_WATCHED // len(forget))
    images = forget.images.repeat(repeats, 1, 1, 1)
    watched = Batch(training_views(images, rng=rng), forget.labels.repeat(repeats))
    return Goal(forget, watched, config.stop_margin)
