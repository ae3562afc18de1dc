"""L2UL: ADV, and weights that matter little for the forget set are held where they were."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.comparators.attack_images import Adv, attack_images, attack_terms
from benchmarks.comparators.descent import iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch
from worker.unlearning.losses import drift
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class L2UL(Adv):
    """ADV with the weight of its regulariser."""

    importance_weight: float = 1.0  # λ


def l2ul(model: SplitClassifier, forget: Batch, *, config: L2UL, rng: torch.Generator) -> Iterator[Step]:
    """Minimise ADV's loss + λ · ½ Σ_i I_i (θ_i − θ_i^ori)² over all parameters; a generator like `unlearn`.

    Source: Cha et al., "Learning to Unlearn: Instance-wise Unlearning for Pre-trained Classifiers" (AAAI 2024),
    "Case 3" of its code. Deviations: those of `adv` and those of `inverted_importance`.

    Raises ValueError if `config` asks for no attack image.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        attacks = yield from attack_images(model, forget, config=config, rng=rng, deadline=deadline)
        importance = inverted_importance(model, forget.images)
        original = [p.detach().clone() for p in model.parameters()]
        adv_terms = attack_terms(model, forget, attacks, config=config, rng=rng)

        def terms(index: Tensor) -> dict[str, Tensor]:
            moved = config.importance_weight * drift(importance, list(model.parameters()), original)
            return adv_terms(index) | {"importance": moved}

        yield from iterate(model, forget, terms, sgd(model, config).step, config=config, rng=rng, deadline=deadline)


def inverted_importance(model: SplitClassifier, images: Tensor) -> list[Tensor]:
    """I = 1 − Ω̂ for each parameter, in the order of `parameters()`: 0 where it matters most for the images.

    Ω = E_x[|∂‖f(x)‖₂/∂θ|] is the importance of Memory Aware Synapses (Aljundi et al., ECCV 2018, Eq. 3) for the
    norm of the logits, Ω̂ the same scaled to [0, 1] within each tensor. A tensor whose entries all matter the same
    gets I = 1; the authors' code divides by zero there.

    Two more deviations from that code, which takes magnitudes of batch means, in train mode, of gradients that it
    forgets to reset between batches: here they are taken per image, and the caller keeps the model in eval mode.
    """
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for image in torch.split(images, 1):
        norm = torch.linalg.vector_norm(model(image))
        gradients = torch.autograd.grad(norm, parameters, allow_unused=True)
        for magnitudes, g in zip(total, gradients, strict=True):
            if g is not None:
                magnitudes.add_(g.abs())
    return [1 - _min_max(t) for t in total]


def _min_max(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)
