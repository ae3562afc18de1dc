"""Outputs of a model on the images that it is evaluated on: one pass over each set, of which only outputs are kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning import Batch, SplitClassifier, outputs

_SAMPLE_SIZE = 2000  # images of an evaluation set whose features and logits are kept


class _RandomSample:
    """Reservoir sampling over batches of images, seeded: the same sample for every model."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rng = torch.Generator().manual_seed(0)
        self._keys = torch.empty(0)

    def select(self, count: int) -> Tensor:
        """Indices to keep, in the sample so far followed by `count` new images: those with the highest random keys."""
        keys = torch.cat([self._keys, torch.rand(count, generator=self._rng)])
        selected = keys.topk(min(self._size, len(keys))).indices.sort().values
        self._keys = keys[selected]
        return selected


def sampled_indices(count: int, *, batch: int) -> list[int]:
    """Indices, in a set of `count` images, of those whose outputs `collect_outputs` keeps with this batch size."""
    sample, indices = _RandomSample(_SAMPLE_SIZE), torch.empty(0, dtype=torch.int64)
    for first in range(0, count, batch):
        new = torch.arange(first, min(first + batch, count))
        indices = torch.cat([indices, new])[sample.select(len(new))]
    return indices.tolist()


@dataclass(frozen=True)
class Outputs:
    """Features and logits of labelled images; of a large set those of a random sample, the same for every model."""

    accuracy: float  # percent, over the whole set
    labels: Tensor  # (n,)
    features: Tensor  # (n, d)
    logits: Tensor  # (n, b)


@dataclass(frozen=True)
class ModelOutputs:
    """The outputs of one model on all sets that it is evaluated on; `None` where there is no such set."""

    forget: Outputs
    test: Outputs | None
    retain: Outputs | None


def collect_outputs(
    model: SplitClassifier, *, forget: Batch, test: Iterable[Batch] | None, retain: Iterable[Batch] | None
) -> ModelOutputs:
    """One forward pass over every image; batches are not kept."""
    return ModelOutputs(
        forget=_outputs(model, [forget], keep=len(forget)),
        test=None if test is None else _outputs(model, test, keep=_SAMPLE_SIZE),
        retain=None if retain is None else _outputs(model, retain, keep=_SAMPLE_SIZE),
    )


def _outputs(model: SplitClassifier, batches: Iterable[Batch], *, keep: int) -> Outputs:
    sample = _RandomSample(keep)
    correct = count = 0
    kept: tuple[Tensor, ...] = ()
    for batch in batches:
        features, logits = outputs(model, batch.images)
        correct += int((logits.argmax(1) == batch.labels).sum())
        count += len(batch)
        new = (batch.labels, features, logits)
        kept = tuple(torch.cat(columns) for columns in zip(kept, new, strict=True)) if kept else new
        selected = sample.select(len(batch)).to(batch.labels.device)
        if len(selected) < len(kept[0]):
            kept = tuple(column[selected] for column in kept)
    labels, features, logits = kept
    return Outputs(100 * correct / count, labels, features, logits)
