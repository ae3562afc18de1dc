"""RAWP: push every weight matrix, by a set share of its size, to where the forget set's loss grows fastest."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.comparators.descent import Run, iterate, leaving_clean
from worker.unlearning.batch import Batch
from worker.unlearning.losses import ascent
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class RAWP(Run):
    """Sizes are shares of each tensor's original L2 norm."""

    random_start: float = 5e-3  # of the random perturbation that precedes the first update
    size: float = 5e-3  # of one update, γ of the source's experiments
    max_steps: int = 200  # so no tensor moves further than its own norm, at the default size


def rawp(model: SplitClassifier, forget: Batch, *, config: RAWP, rng: torch.Generator) -> Iterator[Step]:
    """Perturb weights adversarially on the forget set, from a random start; a generator like `unlearn`.

    The StructGuard paper takes RAWP from Wu, Xia and Wang, "Adversarial Weight Perturbation Helps Robust
    Generalization" (NeurIPS 2020), and defines it in a supplement we could not read; its peer's code has none. This
    is our reading: the ascent of section 4 of that source, v_l ← v_l + γ ‖w_l‖ ∇_l/‖∇_l‖ for every layer l, on
    CE(f(x_f), y_f). "R" is taken as the random start, and `max_steps=0` leaves it at that. A blind perturbation
    alone can hardly be what was compared: the paper has all of 16 images misclassified at 63 % test accuracy, a
    CIFAR-10 ResNet-20 shaken until it is at 65 % misclassifies 4 of 16 (one seed).

    Where the source perturbs once (or K₂ times inside a ball) and takes it back, the perturbation here stays and
    grows until every forget image is misclassified. Tensors of one dimension (biases, normalisation) stay as they
    are, as in the authors' code.
    """
    deadline = time.monotonic() + config.max_seconds
    weights = [p for p in model.parameters() if p.ndim > 1]
    norms = [torch.linalg.vector_norm(w.detach()) for w in weights]

    @torch.no_grad()
    def move(directions: list[Tensor], share: float) -> None:
        for w, norm, direction in zip(weights, norms, directions, strict=True):
            w.sub_(share * norm * direction / torch.linalg.vector_norm(direction).clamp_min(1e-20))

    with leaving_clean(model):
        noise = [torch.randn(w.shape, generator=rng, device=rng.device).to(w) for w in weights]
        move(noise, config.random_start)
        yield from iterate(
            model,
            forget,
            lambda index: {"deletion": ascent(model(forget.images[index]), forget.labels[index])},
            lambda: move([torch.zeros_like(w) if w.grad is None else w.grad for w in weights], config.size),
            config=config,
            rng=rng,
            deadline=deadline,
        )
