"""Membership inference: can somebody who sees the logits tell the forgotten images from unseen ones?

Both tails count. A memorised image scores higher than unseen ones, a misclassified one lower than almost all of them:
to stand out is to be found, so |AUC − 0.5| is what has to be small (the lower tail is known as the Streisand effect).
Misclassified images are therefore also compared with the unseen images that the same model gets wrong.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning.losses import margins
from worker.unlearning.references import reference_scores

_FPR = 0.01  # the false-positive rate at which Carlini et al. 2022 (arXiv 2112.03570) ask an attack to work


@dataclass(frozen=True)
class Attack:
    """What one attack achieves on forget images against control images."""

    auc: float  # P(score of a forget image > score of a control), ties half; 0.5 = cannot tell
    advantage: float  # |AUC − 0.5|, 0 to 0.5
    tpr_at_1_fpr_high: float  # share of forget images above all but 1 % of the controls: still recognised as members
    tpr_at_1_fpr_low: float  # share below all but 1 % of the controls: given away by having been forgotten


@dataclass(frozen=True)
class Inference:
    """All attacks against one control group."""

    controls: int  # images in the group
    advantage: float  # of the worst attack
    worst_attack: str
    attacks: dict[str, Attack]


@dataclass(frozen=True)
class Membership:
    """Forget images against both control groups; None where a group is empty."""

    unseen: Inference | None
    unseen_misclassified: Inference | None  # the fair group for images that are misclassified on purpose


@dataclass(frozen=True)
class References:
    """How sure R reference models are of the same images, see `worker.unlearning.references.log_odds`."""

    forget: Tensor  # (R, k)
    unseen: Tensor  # (R, n)


def membership(
    forget_logits: Tensor,
    forget_labels: Tensor,
    unseen_logits: Tensor,
    unseen_labels: Tensor,
    *,
    references: References | None = None,
) -> Membership:
    """Attack a model through its logits (k, b) on forget images and (n, b) on unseen images, with labels (k,), (n,).

    `references` adds the attacks that need reference models, which must have seen neither group.
    """
    forget = attack_scores(forget_logits, forget_labels)
    unseen = attack_scores(unseen_logits, unseen_labels)
    if references:
        forget |= reference_scores(forget_logits, forget_labels, references.forget)
        unseen |= reference_scores(unseen_logits, unseen_labels, references.unseen)
    return against_both(forget, unseen, wrong=margins(unseen_logits, unseen_labels) < 0)


def against_both(forget: Mapping[str, Tensor], unseen: Mapping[str, Tensor], *, wrong: Tensor) -> Membership:
    """Compare scores (k,) of forget images with those (n,) of unseen ones, and of the unseen ones that are `wrong`."""
    return Membership(
        unseen=_inference(forget, unseen),
        unseen_misclassified=_inference(forget, {name: scores[wrong] for name, scores in unseen.items()}),
    )


def attack_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The scores of every attack, higher = more like an image trained on: (N, b), (N,) -> (N,) float64 each.

    - "loss": log p_y, which is −CE (Yeom et al. 2018, arXiv 1709.01604)
    - "confidence": log max_j p_j; ranks as max_j p_j does (Salem et al. 2019, arXiv 1806.01246)
    - "entropy": −H(p) = Σ_j p_j log p_j (the same)
    - "modified_entropy": (1 − p_y) log p_y + Σ_{j≠y} p_j log(1 − p_j) (Song & Mittal 2021, arXiv 2003.10595, negated)
    - "margin": z_y − max_{j≠y} z_j
    """
    z = logits.double()
    own = labels[:, None]
    everything = z.logsumexp(1, keepdim=True)  # (N, 1)
    # p of the top class may round to 1, and then all confident images would tie: it is taken from the others' sum.
    top = z.argmax(1, keepdim=True)
    log_not_top = z.scatter(1, top, -math.inf).logsumexp(1, keepdim=True) - everything
    log_p = (z - everything).scatter(1, top, torch.log1p(-log_not_top.exp()))  # (N, b)
    p = log_p.exp()
    log_not_p = torch.log1p(-p).scatter(1, top, log_not_top)  # (N, b), log(1 − p_j)
    others = (p * log_not_p).scatter(1, own, 0.0).sum(1)
    log_own, log_not_own = log_p.gather(1, own)[:, 0], log_not_p.gather(1, own)[:, 0]
    return {
        "loss": log_own,
        "confidence": log_p.amax(1),
        "entropy": (p * log_p).sum(1),
        "modified_entropy": log_not_own.exp() * log_own + others,
        "margin": margins(z, labels),
    }


def auc(scores: Tensor, controls: Tensor) -> float:
    """P(score > control) + ½ P(score = control) over all pairs of (n,) and (m,): the Mann–Whitney U over n·m.

    NaN if any value is NaN. Raises ValueError if either side is empty.
    """
    if len(scores) == 0 or len(controls) == 0:
        raise ValueError("the AUC needs scores on both sides")
    if bool(scores.isnan().any()) or bool(controls.isnan().any()):
        return math.nan
    ordered, scores = controls.sort().values, scores.contiguous()
    below, up_to = (torch.searchsorted(ordered, scores, right=right) for right in (False, True))
    return (below + up_to).sum().item() / (2 * len(scores) * len(controls))


def tpr_at_fpr(scores: Tensor, controls: Tensor, *, fpr: float) -> float:
    """Share of the scores (n,) above a threshold that at most `fpr` of the controls (m,) exceed."""
    false_positives = math.floor(fpr * len(controls) + 1e-9)  # 0.01 · 2900 is a little below 29
    threshold = controls.sort(descending=True).values[false_positives]
    return (scores > threshold).double().mean().item()


def _inference(forget: Mapping[str, Tensor], controls: Mapping[str, Tensor]) -> Inference | None:
    count = len(controls["loss"])
    if count == 0 or len(forget["loss"]) == 0:
        return None
    attacks = {name: _attack(forget[name], controls[name]) for name in forget}
    worst = max(attacks, key=lambda name: attacks[name].advantage)
    return Inference(controls=count, advantage=attacks[worst].advantage, worst_attack=worst, attacks=attacks)


def _attack(forget: Tensor, controls: Tensor) -> Attack:
    area = auc(forget, controls)
    return Attack(
        auc=area,
        advantage=abs(area - 0.5),
        tpr_at_1_fpr_high=tpr_at_fpr(forget, controls, fpr=_FPR),
        tpr_at_1_fpr_low=tpr_at_fpr(-forget, -controls, fpr=_FPR),
    )
