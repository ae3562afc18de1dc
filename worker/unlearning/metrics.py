"""Metrics of a model, measured as it is deployed: h(g(x)), eval mode, float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.unlearning.anchors import Structure
from worker.unlearning.batch import Batch
from worker.unlearning.losses import margins
from worker.unlearning.split import SplitClassifier
from worker.unlearning.views import evaluation_views

_CHUNK = 256  # images per forward


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards the mode is what it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def outputs(model: SplitClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of images (N, C, H, W), in one pass: (N, d), (N, b)."""
    with evaluating(model):
        features, logits = zip(*(model.split(x) for x in torch.split(images, _CHUNK)), strict=True)
        return torch.cat(features), torch.cat(logits)


def batch_margins(model: nn.Module, batch: Batch) -> Tensor:
    """z_y − max_{j≠y} z_j in logits, one per image (N,); below 0 the image is misclassified."""
    with evaluating(model):
        chunks = zip(torch.split(batch.images, _CHUNK), torch.split(batch.labels, _CHUNK), strict=True)
        return torch.cat([margins(model(x), y) for x, y in chunks])


def forget_accuracy(model: nn.Module, forget: Batch) -> float:
    """A_f as the literature reports it: percent of the forget images that are misclassified."""
    return 100 * (batch_margins(model, forget) < 0).double().mean().item()


def accuracy(model: nn.Module, batch: Batch) -> float:
    """Percent of the images whose highest logit is that of their label."""
    with evaluating(model):
        chunks = zip(torch.split(batch.images, _CHUNK), torch.split(batch.labels, _CHUNK), strict=True)
        right = [model(x).argmax(1) == y for x, y in chunks]
    return 100 * torch.cat(right).double().mean().item()


def robust_forget_accuracy(model: nn.Module, forget: Batch) -> dict[str, float]:
    """A_f in percent under each view of `evaluation_views`, by its name; their mean is robust A_f."""
    return {name: forget_accuracy(model, Batch(x, forget.labels)) for name, x in evaluation_views(forget.images)}


def affinities(model: SplitClassifier, images: Tensor, structure: Structure) -> Tensor:
    """S of the images (Eq. 1, without a projector): (N, C, H, W) -> (N, b)."""
    with evaluating(model):
        return torch.cat([structure.affinity(model.split(x)[0]) for x in torch.split(images, _CHUNK)])


def structural_collapse(original: Tensor, current: Tensor) -> float:
    """1 − mean cosine between each image's affinities before and now, (N, b) each: 0 = intact, 2 = reversed.

    The paper's Figure 2a plots "the change of affinities between retained embeddings and anchors" without a formula;
    this is our reading. Only values of the same structure compare.
    """
    return 1 - F.cosine_similarity(original, current, dim=1).mean().item()


def all_finite(model: nn.Module) -> bool:
    """Whether no parameter and no buffer holds a NaN or an infinity."""
    return all(bool(torch.isfinite(t).all()) for t in model.state_dict().values())
