"""What a model makes of the images it is measured on: one pass over each set, and only its outputs are kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning import Batch, SplitClassifier, outputs

_KEPT = 2000  # images of an evaluation set whose features and logits are kept


class _Sample:
    """A random sample of images that pass by in batches: the same one whoever lets them pass."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rng = torch.Generator().manual_seed(0)
        self._lots = torch.empty(0)

    def stays(self, count: int) -> Tensor:
        """Which stay, of those that were kept so far and `count` more behind them: those with the highest lots."""
        lots = torch.cat([self._lots, torch.rand(count, generator=self._rng)])
        staying = lots.topk(min(self._size, len(lots))).indices.sort().values
        self._lots = lots[staying]
        return staying


def kept_places(count: int, *, batch: int) -> list[int]:
    """Where in a set of so many images those are whose outputs `see` keeps, if it sees it in batches of this size."""
    sample, places = _Sample(_KEPT), torch.empty(0, dtype=torch.int64)
    for first in range(0, count, batch):
        new = torch.arange(first, min(first + batch, count))
        places = torch.cat([places, new])[sample.stays(len(new))]
    return places.tolist()


@dataclass(frozen=True)
class Outputs:
    """What a model makes of labelled images. Of a large set a random sample is kept, the same one for every model."""

    accuracy: float  # percent, over the whole set
    labels: Tensor  # (n,)
    features: Tensor  # (n, d)
    logits: Tensor  # (n, b)


@dataclass(frozen=True)
class Seen:
    """The outputs of one model on everything it is measured on; `None` where there is no such set."""

    forget: Outputs
    test: Outputs | None
    retain: Outputs | None


def see(model: SplitClassifier, *, forget: Batch, test: Iterable[Batch] | None, retain: Iterable[Batch] | None) -> Seen:
    """Show every image to the model, once; the batches are let go as they pass."""
    return Seen(
        forget=_outputs(model, [forget], keep=len(forget)),
        test=None if test is None else _outputs(model, test, keep=_KEPT),
        retain=None if retain is None else _outputs(model, retain, keep=_KEPT),
    )


def _outputs(model: SplitClassifier, batches: Iterable[Batch], *, keep: int) -> Outputs:
    sample = _Sample(keep)
    right = count = 0
    kept: tuple[Tensor, ...] = ()
    for batch in batches:
        features, logits = outputs(model, batch.images)
        right += int((logits.argmax(1) == batch.labels).sum())
        count += len(batch)
        new = (batch.labels, features, logits)
        kept = tuple(torch.cat(columns) for columns in zip(kept, new, strict=True)) if kept else new
        staying = sample.stays(len(batch)).to(batch.labels.device)
        if len(staying) < len(kept[0]):
            kept = tuple(column[staying] for column in kept)
    labels, features, logits = kept
    return Outputs(100 * right / count, labels, features, logits)
