"""Membership inference with reference models: networks trained on images of the same kind, but on none of these.

An image that they find hard too does not stand out by being hard, nor an easy one by being easy. Offline forms, which
need no network that was trained on the images.
"""

import math

import torch.nn.functional as F
from torch import Tensor

RMIA_OFFLINE = 0.3  # a, between 0 (references that never say how sure a member would be) and 1 (it would be as unsure)


def reference_scores(logits: Tensor, labels: Tensor, references: Tensor) -> dict[str, Tensor]:
    """Higher = more like an image trained on: (N, b), (N,), log odds of R references (R, N) -> (N,) float64 each.

    - "lira": φ − mean of the references' φ, with φ = log p_y / (1 − p_y) (Carlini et al. 2022, arXiv 2112.03570, the
      offline attack). Its Gaussian gets one variance for all images, as the authors do with few references, so that
      it and the Gaussian's tail leave the order of the images as it is. With one reference it is the difficulty
      calibration of Watson et al. 2022 (arXiv 2111.08440) with φ for the loss.
    - "rmia": log p_y / p̄, with p̄ = ½ ((1 + a) · mean of the references' p_y + 1 − a) (Zarifzadeh et al. 2024, arXiv
      2312.03262, offline, a = 0.3). Their score is the share of a population whose ratio this one exceeds γ times:
      the higher the ratio the higher the share, so the ratio ranks as it does and has fewer ties.

    Raises ValueError if there is no reference, or they were shown other images.
    """
    if len(references) == 0 or references.shape[1:] != labels.shape:
        raise ValueError(f"log odds of references are {tuple(references.shape)}, of {len(labels)} images")
    odds = log_odds(logits, labels)
    outside = references.sigmoid().mean(0)
    overall = 0.5 * ((1 + RMIA_OFFLINE) * outside + 1 - RMIA_OFFLINE)
    return {
        "lira": odds - references.mean(0),
        "rmia": F.logsigmoid(odds) - overall.log(),
    }


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """φ = log p_y / (1 − p_y) = z_y − log Σ_{j≠y} exp z_j: (N, b), (N,) -> (N,) float64.

    All that the attacks need of a reference; with many classes that is far less to keep than its logits.
    """
    z, own = logits.double(), labels[:, None]
    others = z.scatter(1, own, -math.inf).logsumexp(1)
    return z.gather(1, own)[:, 0] - others
