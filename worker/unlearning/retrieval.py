"""Image-to-image retrieval over g's features: what a gallery search finds for retained and for forgotten queries.

R@K is the share of queries with an image of their class among the K nearest by cosine (Song et al. 2016,
arXiv 1511.06452), mAP the mean over queries of the average precision, (1/R_q) Σ_n P_q(n)·rel_q(n). After unlearning,
retained queries should find what they found, and forgotten queries less.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 256  # queries whose similarities to the whole gallery are held at once


@dataclass(frozen=True)
class Retrieval:
    """Percent, 0 to 100, over the queries that have something to find."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mean_average_precision: float
    queries: int  # counted in these figures
    without_relevant: int  # left out, because the gallery holds no image of their class


def retrieval(
    queries: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor, *, own: Tensor | None = None
) -> Retrieval | None:
    """Search the gallery (G, d) for each query (Q, d), labels (G,) and (Q,); None if no query has anything to find.

    `own` (Q,) is where each query stands in the gallery itself, and what it must not find; None = nowhere. Of equally
    near images the earlier one comes first; an image whose feature is NaN is never found.
    """
    directions = F.normalize(gallery, dim=1)
    parts = []
    for index in torch.split(torch.arange(len(queries), device=queries.device), _CHUNK):
        similarity = (F.normalize(queries[index], dim=1) @ directions.T).nan_to_num(nan=-torch.inf)  # (q, G)
        relevant = query_labels[index, None] == gallery_labels
        if own is not None:
            similarity.scatter_(1, own[index, None], -torch.inf)
            relevant.scatter_(1, own[index, None], False)
        retrieved = relevant & similarity.isfinite()
        order = similarity.sort(dim=1, descending=True, stable=True).indices
        parts.append(_figures(retrieved.gather(1, order), relevant.sum(1)))
    figures = torch.cat(parts)  # (queries with something to find, 4)
    if len(figures) == 0:
        return None
    at_1, at_5, at_10, precision = (100 * figures.mean(0)).tolist()
    return Retrieval(at_1, at_5, at_10, precision, queries=len(figures), without_relevant=len(queries) - len(figures))


def _figures(ranked: Tensor, relevant: Tensor) -> Tensor:
    """R@1, R@5, R@10 and average precision of queries by their ranking (q, G), where `relevant` (q,) is above 0."""
    ranked, relevant = ranked[relevant > 0], relevant[relevant > 0]
    hits = ranked.cumsum(1)
    ranks = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    precision = (hits / ranks * ranked).double().sum(1) / relevant
    recall = [ranked[:, :k].any(1).double() for k in (1, 5, 10)]
    return torch.stack([*recall, precision], 1)
