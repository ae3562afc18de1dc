"""ORACLE: gradients of retained images besides those of the forget set."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.comparators.descent import Descent, iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.losses import ascent
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class Oracle(Descent):
    """The source's batch is that of its vision transformer, the only published script that runs this case."""

    retain_batch: int = 512  # images per update, all of them where they are fewer


def oracle(
    model: SplitClassifier, forget: Batch, *, retain: Batch, config: Oracle, rng: torch.Generator
) -> Iterator[Step]:
    """Minimise CE on retained minus CE on forget images from the weights as they are; a generator like `unlearn`.

    Source: the StructGuard paper's "positive gradients from D_r and negative gradients from D_f" (section 5), which
    is "Case 0" in the code of Cha et al. (AAAI 2024): both terms with weight 1, from the pretrained weights. It is
    not retraining and, where the images are many, no upper bound either. That code reads D_r in file order; we
    shuffle it.
    """
    deadline = time.monotonic() + config.max_seconds
    batches = shuffled(len(retain), min(len(retain), config.retain_batch), rng=rng, like=retain.labels)

    def terms(index: Tensor) -> dict[str, Tensor]:
        retain_index = next(batches)
        retention = F.cross_entropy(model(retain.images[retain_index]), retain.labels[retain_index])
        return {"deletion": ascent(model(forget.images[index]), forget.labels[index]), "retention": retention}

    with leaving_clean(model):
        yield from iterate(model, forget, terms, sgd(model, config).step, config=config, rng=rng, deadline=deadline)
