"""BOUNDARY SHRINK: teach each forget image the class across the nearest boundary."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.comparators.descent import Descent, iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink(Descent):
    """The authors' settings, in updates: 10 passes over the 5,000 images of a class."""

    lr: float = 1e-5
    weight_decay: float = 0.0
    forget_batch: int = 64
    max_steps: int = 790
    fgsm_eps: float = 0.1  # of every pixel in [0, 1]


def boundary_shrink(
    model: SplitClassifier, forget: Batch, *, config: BoundaryShrink, rng: torch.Generator
) -> Iterator[Step]:
    """Minimise CE(f(x_f), nearest wrong class); a generator like `unlearn`.

    Source: Chen et al., "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the Decision Boundary"
    (CVPR 2023), made for whole classes. Deviations: those of `nearest_wrong_classes`, and we stop at the goal.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        nearest = nearest_wrong_classes(model, forget, eps=config.fgsm_eps)
        yield from iterate(
            model,
            forget,
            lambda index: {"relabelling": F.cross_entropy(model(forget.images[index]), nearest[index])},
            sgd(model, config).step,
            config=config,
            rng=rng,
            deadline=deadline,
        )


def nearest_wrong_classes(model: SplitClassifier, batch: Batch, *, eps: float) -> Tensor:
    """The most likely class but the label after one step of `eps` up the sign of the loss's gradient: (N,).

    Where the step does not cross the boundary, the authors' code teaches the image its own label again.
    The caller keeps the model in eval mode.
    """
    x = batch.images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), batch.labels, reduction="sum"), x)
    with torch.no_grad():
        logits: Tensor = model((batch.images + eps * gradient.sign()).clamp(0, 1))
    return logits.scatter(1, batch.labels[:, None], float("-inf")).argmax(1)
