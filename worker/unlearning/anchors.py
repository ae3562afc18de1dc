"""Structure: the affinities between features and class anchors (paper, sections 3.1 and 3.2).

Nothing makes a classifier's feature space and a text encoder's space alike, even where their widths agree. The
grounded map does: it sends the classifier's own class directions to the anchors of their classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_RIDGE = 1e-3  # relative to the mean eigenvalue of the class directions' Gram matrix


@dataclass(frozen=True)
class Structure:
    """What turns features into affinities; fixed for a whole run."""

    anchors: Tensor  # (b, a), unit rows
    map: Tensor  # (a, d), from feature space to anchor space
    centre: Tensor  # (d,), subtracted from every feature vector

    def affinity(self, features: Tensor) -> Tensor:
        """S = norm(M (g − centre)) Aᵀ, cosines in [−1, 1] (Eq. 1): (N, d) -> (N, b)."""
        grounded = (features - self.centre) @ self.map.T  # (N, d) x (d, a) -> (N, a)
        return F.normalize(grounded, dim=1) @ self.anchors.T  # (N, a) x (a, b) -> (N, b)


def make_structure(
    anchors: Tensor | None, *, rows: Tensor, centre: Tensor, raw: bool, rng: torch.Generator
) -> Structure:
    """Tie anchors (b, a) to the feature space of a classifier with class rows (b, d).

    Args:
        anchors: one vector per class in the order of the classes; None takes the rows themselves.
        rows: the weight of the last linear layer.
        centre: (d,) mean feature over the surrogates; ignored when raw.
        raw: the paper's form. Anchors are only normalised and features not centred; with a = d the map is the
            identity, S = norm(g) Aᵀ, otherwise a seeded orthonormal matrix.
        rng: draws that matrix.

    Raises ValueError if there is not one anchor per class or an anchor is not finite.
    """
    rows = rows.detach()
    anchors = rows if anchors is None else anchors.to(rows)
    if anchors.ndim != 2 or len(anchors) != len(rows):
        raise ValueError(f"{len(rows)} classes need as many anchors, not a tensor {tuple(anchors.shape)}")
    if not bool(torch.isfinite(anchors).all()):
        raise ValueError("anchors must be finite")
    a, d = anchors.shape[1], rows.shape[1]
    if raw:
        square = torch.eye(d, device=rows.device, dtype=rows.dtype)
        grounding = square if a == d else orthonormal(a, d, rng=rng, like=rows)
        return Structure(F.normalize(anchors, dim=1), grounding, torch.zeros_like(centre))
    anchors, directions = centred(anchors), centred(rows)
    # Equal rows have no direction to hold on to; inner products then survive an orthonormal map at least.
    degenerate = not bool(directions.any())
    grounding = orthonormal(a, d, rng=rng, like=rows) if degenerate else grounded_map(directions, anchors)
    return Structure(anchors, grounding, centre)


def centred(rows: Tensor) -> Tensor:
    """Subtract the mean row and normalise: (b, a) -> (b, a).

    Raw text anchors share most of their direction (ten CLIP class names have an effective rank of 1.8), which makes
    every affinity nearly the same number.
    """
    return F.normalize(rows - rows.mean(dim=0), dim=1)


def grounded_map(directions: Tensor, anchors: Tensor) -> Tensor:
    """Ridge regression of anchors (b, a) on class directions (b, d): M (a, d) with M w_c ≈ a_c for every class."""
    W, A = directions.double(), anchors.double()
    gram = W.T @ W  # (d, d)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    M: Tensor = torch.linalg.solve(gram + ridge, W.T @ A).T  # (d, a) -> (a, d)
    return M.to(directions)


def orthonormal(a: int, d: int, *, rng: torch.Generator, like: Tensor) -> Tensor:
    """A random (a, d) matrix with orthonormal rows or columns, whichever are fewer."""
    tall = torch.randn(max(a, d), min(a, d), generator=rng, device=rng.device)
    Q: Tensor = torch.linalg.qr(tall).Q.to(like)
    return Q if a >= d else Q.T
