"""Structural importance of every parameter in front of the head (paper, Eq. 4), measured once at θ_ori."""

from typing import Literal

import torch
from torch import Tensor

from worker.unlearning.anchors import Structure
from worker.unlearning.batch import integers
from worker.unlearning.losses import alignment
from worker.unlearning.projector import Projector
from worker.unlearning.split import SplitClassifier

Importance = Literal["gauss_newton", "gradient"]

_PROBE_BATCH = 32  # images per Hutchinson probe


def importance(
    model: SplitClassifier,
    images: Tensor,
    structure: Structure,
    *,
    kind: Importance,
    rng: torch.Generator,
    projector: Projector | None = None,
) -> list[Tensor]:
    """I_i for each tensor of ψ, in the order of `features_only_parameters`, scaled to mean 1 per tensor.

    "gauss_newton" is the diagonal of E_x[Σ_j (∂S_j/∂ψ)²], the curvature of the structure. "gradient" is Eq. 4 as
    printed, E_x[|∂L_align(x)/∂ψ|] for one image at a time: it vanishes at θ_ori under an identity projector, whose
    alignment is at its optimum there, and needs another one. A tensor without any importance stays 0.

    Runs in eval mode and restores the mode: no buffer is written.
    Raises ValueError for "gradient" without a projector.
    """
    if kind == "gradient" and projector is None:
        raise ValueError("Eq. 4 as printed is zero without a projector that is not the identity")
    parameters = list(model.features_only_parameters().values())
    total = [torch.zeros_like(p) for p in parameters]
    was_training = model.training
    model.eval()
    try:
        for chunk in torch.split(images, _PROBE_BATCH if kind == "gauss_newton" else 1):
            features, _ = model.split(chunk)
            current = structure.affinity(features if projector is None else projector(features))  # (n, b)
            if kind == "gauss_newton":
                # Independent random signs: the square of one gradient is, on average, the sum of all squares
                # (Hutchinson), so the cross terms between images and anchors vanish without a loop over either.
                signs = integers(current.shape, 2, rng=rng, like=current).to(current) * 2 - 1
                gradients = torch.autograd.grad((signs * current).sum(), parameters, allow_unused=True)
            else:
                loss = alignment(structure.affinity(features).detach(), current)
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for accumulated, g in zip(total, gradients, strict=True):
                if g is not None:
                    accumulated.add_(g.square() if kind == "gauss_newton" else g.abs())
    finally:
        model.train(was_training)
    return [_mean_one(t) for t in total]


def _mean_one(values: Tensor) -> Tensor:
    mean = values.mean()
    return values / mean if mean > 0 else values
