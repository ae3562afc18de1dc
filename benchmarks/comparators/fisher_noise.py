"""FISHER: noise on every weight, with the less variance the larger its Fisher information of retained images."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.comparators.descent import leaving_clean
from worker.unlearning.batch import Batch, integers
from worker.unlearning.metrics import forget_accuracy
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step

_PROBE_BATCH = 4  # images per probe of the Fisher information


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """What the formula leaves open, and how F is measured."""

    # (λσ_h²)^½, see `fisher`. Here a CIFAR-10 ResNet-20 misclassifies 69 % of 16 images at 33 % test accuracy (one
    # seed); a third of it does next to nothing, twice as much leaves guessing.
    strength: float = 5e-7
    damping: float = 1e-8  # added to the information, which bounds the noise on weights without any
    images: int = 1024  # retained images, drawn at random, on which the information is measured
    max_seconds: float = 3600.0


def fisher(
    model: SplitClassifier, forget: Batch, *, retain: Batch, config: Fisher, rng: torch.Generator
) -> Iterator[Step]:
    """Add n ~ N(0, Σ) with Σ = (λσ_h²)^½ F^(−½) to the weights; a generator like `unlearn`, with one update.

    Source: Fisher forgetting of Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net" (CVPR 2020),
    S(w) = w + (λσ_h²)^¼ F^(−¼) n with standard normal n and F the diagonal Fisher information of the *retained*
    images. The forget set is used only to measure A_f. Deviations: F comes from a sample of D_r and
    random probes, and we add none of the authors' code beyond the formula (there Σ = α F⁻¹, clamped, averaged over
    the inputs of a unit and ten times as strong in the last layer and in normalisation).

    Yields before its one update as well, whenever a part of F is measured. The time limit shortens the measuring.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        sample = torch.randperm(len(retain), generator=rng, device=rng.device)[: config.images]
        images = retain.images[sample.to(retain.images.device)]
        information = yield from fisher_information(model, images, rng=rng, deadline=deadline)
        with torch.no_grad():
            for p, variance in zip(model.parameters(), noise_variance(information, config=config), strict=True):
                p.add_(variance.sqrt() * torch.randn(p.shape, generator=rng, device=rng.device).to(p))
        yield Step(phase="unlearn", step=1, total=1, forget_accuracy=forget_accuracy(model, forget))


def noise_variance(information: list[Tensor], *, config: Fisher) -> list[Tensor]:
    """Σ = strength · (F + damping)^(−½), entry by entry."""
    return [config.strength * (f + config.damping).rsqrt() for f in information]


def fisher_information(
    model: SplitClassifier, images: Tensor, *, rng: torch.Generator, deadline: float
) -> Generator[Step, None, list[Tensor]]:
    """The diagonal E_x E_{y~p(y|x)}[(∂ log p(y|x)/∂θ)²] for each parameter, in the order of `parameters()`.

    Measured on at least a few images and until `deadline`. The caller keeps the model in eval mode.
    """
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    count = 0
    for chunk in torch.split(images, _PROBE_BATCH):
        log_p = model(chunk).log_softmax(1)  # (n, b)
        # Independent random signs: the square of one gradient is, on average, the sum of the squares over images
        # and classes (Hutchinson), weighted by p(y|x) through its root.
        signs = integers(log_p.shape, 2, rng=rng, like=log_p).to(log_p) * 2 - 1
        probe = (signs * log_p.detach().exp().sqrt() * log_p).sum()
        gradients = torch.autograd.grad(probe, parameters, allow_unused=True)
        for squares, g in zip(total, gradients, strict=True):
            if g is not None:
                squares.add_(g.square())
        count += len(chunk)
        yield Step(phase="unlearn", step=0, total=1)
        if time.monotonic() > deadline:
            break
    return [t / count for t in total]
