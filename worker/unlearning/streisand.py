"""Whether being forgotten has itself become a mark (the Streisand effect), to somebody who sees into the model."""

import torch
from torch import Tensor

from worker.unlearning.losses import margins
from worker.unlearning.membership import Membership, against_both, attack_scores


def streisand(forget: tuple[Tensor, Tensor, Tensor], unseen: tuple[Tensor, Tensor, Tensor]) -> Membership | None:
    """Compare forget images with unseen ones; each side is features (N, d), logits (N, b) and labels (N,).

    What is compared, each from both sides (to lie lower than unseen images is a mark as well):
    - "loss" and "entropy" of `attack_scores`
    - "feature_norm": ‖g(x)‖
    - "class_distance": −‖g(x) − mean of the class's features‖, over the unseen images of the label's class that are
      classified correctly; where there is none, over all that are

    The fair group for images that are misclassified on purpose are the unseen ones that the model gets wrong too.
    Named after Golatkar et al. 2020 (arXiv 1911.04933); what is compared, and with whom, is our choice. None if no
    unseen image is classified correctly.
    """
    features, logits, labels = unseen
    margin = margins(logits, labels)
    right = margin > 0
    if not bool(right.any()):
        return None
    means = _class_means(features[right], labels[right], classes=logits.shape[1])
    return against_both(_marks(*forget, means), _marks(*unseen, means), wrong=margin < 0)


def _marks(features: Tensor, logits: Tensor, labels: Tensor, means: Tensor) -> dict[str, Tensor]:
    features = features.double()
    scores = attack_scores(logits, labels)
    return {
        "loss": scores["loss"],
        "entropy": scores["entropy"],
        "feature_norm": features.norm(dim=1),
        "class_distance": -(features - means[labels]).norm(dim=1),
    }


def _class_means(features: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """(N, d), (N,) -> (b, d); of a class without an image the mean of everything."""
    features = features.double()
    counts = torch.zeros(classes, dtype=torch.float64, device=labels.device).index_add(
        0, labels, torch.ones_like(labels, dtype=torch.float64)
    )
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    return torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], features.mean(0))
