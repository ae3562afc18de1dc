"""DELETE: distil the original's answer with the label struck out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.comparators.descent import Descent, iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


@dataclass(frozen=True, kw_only=True)
class Delete(Descent):
    """The authors' settings for CIFAR-10, in updates: 20 passes over the 5,000 images of a class."""

    lr: float = 1e-4
    weight_decay: float = 0.0
    forget_batch: int = 128
    max_steps: int = 800


def delete(model: SplitClassifier, forget: Batch, *, config: Delete, rng: torch.Generator) -> Iterator[Step]:
    """Minimise KL(t ‖ f(x_f)) where t is the original's softmax over all classes but y_f; a generator like `unlearn`.

    Source: Zhou et al., "Decoupled Distillation to Erase: A General Unlearning Method for Any Class-centric Tasks"
    (CVPR 2025), made for whole classes. Deviation: we stop at the goal.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        with torch.no_grad():
            logits = model(forget.images)  # (N, b)
        target = logits.scatter(1, forget.labels[:, None], float("-inf")).softmax(1)

        def terms(index: Tensor) -> dict[str, Tensor]:
            log_p = model(forget.images[index]).log_softmax(1)
            return {"distillation": F.kl_div(log_p, target[index], reduction="batchmean")}

        yield from iterate(model, forget, terms, sgd(model, config).step, config=config, rng=rng, deadline=deadline)
