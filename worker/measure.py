"""What a version is measured on, before and after."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning import (
    Batch,
    SplitClassifier,
    accuracy,
    affinities,
    forget_accuracy,
    robust_forget_accuracy,
    structural_collapse,
)
from worker.unlearning.anchors import Structure, make_structure

PROBE = 512  # images on which collapse is followed; more would slow every check of the run


@dataclass(frozen=True)
class Metrics:
    """Accuracies in percent; `None` means that there was nothing to measure it on."""

    forget_accuracy: float  # A_f, share of the images to forget that are misclassified
    robust_forget_accuracy: float  # the same, mean over fixed views of each image
    robust_forget_accuracy_by_view: dict[str, float]
    test_accuracy: float | None  # A_test
    retain_accuracy: float | None  # A_r
    collapse: float | None  # structural collapse against the parent

    def of_version(self) -> dict[str, float | None]:
        """What holds of the version as such, whichever images a job was about."""
        return {"test_accuracy": self.test_accuracy, "retain_accuracy": self.retain_accuracy, "collapse": self.collapse}


class Probe:
    """Images whose affinities to the anchors are compared with what they were (the paper's Figure 2a)."""

    def __init__(self, model: SplitClassifier, images: Tensor, anchors: Tensor) -> None:
        self._images = images
        with torch.no_grad():
            centre = model.split(images)[0].mean(0)
        self._structure: Structure = make_structure(
            anchors, rows=model.head.weight, centre=centre, raw=False, rng=torch.Generator().manual_seed(0)
        )
        self._original = affinities(model, images, self._structure)

    def collapse(self, model: SplitClassifier) -> float:
        """0 = every image stands to the anchors as before, 2 = the opposite way."""
        return structural_collapse(self._original, affinities(model, self._images, self._structure))


def measure(
    model: SplitClassifier,
    *,
    forget: Batch,
    test: Iterable[Batch] | None,
    retain: Iterable[Batch] | None,
    probe: Probe | None,
) -> Metrics:
    """Everything that can be measured with what the owner registered."""
    views = robust_forget_accuracy(model, forget)
    return Metrics(
        forget_accuracy=forget_accuracy(model, forget),
        robust_forget_accuracy=sum(views.values()) / len(views),
        robust_forget_accuracy_by_view=views,
        test_accuracy=_accuracy(model, test),
        retain_accuracy=_accuracy(model, retain),
        collapse=probe.collapse(model) if probe else None,
    )


def _accuracy(model: SplitClassifier, batches: Iterable[Batch] | None) -> float | None:
    if batches is None:
        return None
    parts = [(accuracy(model, batch), len(batch)) for batch in batches]
    return sum(percent * size for percent, size in parts) / sum(size for _, size in parts)
