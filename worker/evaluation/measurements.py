"""The measurements of a version, from a model's outputs on the evaluation sets and the images to forget."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from service.registry.measurements.definitions import MEASUREMENTS, Owner
from service.registry.models.quality_gate import MIN_UNSEEN_IMAGES
from worker.evaluation.outputs import ModelOutputs, Outputs
from worker.unlearning import (
    Batch,
    SplitClassifier,
    affinities,
    robust_forget_accuracy,
    structural_collapse,
)
from worker.unlearning.anchors import Structure, make_structure
from worker.unlearning.losses import margins
from worker.unlearning.membership import Membership, References, membership
from worker.unlearning.relearning import MAX_STEPS, generalising_relearning, relearning_steps
from worker.unlearning.retrieval import Retrieval, retrieval
from worker.unlearning.similarity import agreement, jensen_shannon, linear_cka, mean_cosine
from worker.unlearning.streisand import streisand

PROBE = 512  # images on which collapse is followed; more would slow every check of the run
_MAX_RELEARNED = 256  # images to forget; more would take longer to relearn than a report may


@dataclass(frozen=True)
class Similarity:
    """How similar a version is to its parent, on the images of one set."""

    images: int
    cosine: float  # −1 to 1, mean over images of cos(g_u(x), g_o(x))
    cka: float  # 0 to 1
    agreement: float  # percent
    jensen_shannon: float  # nats


@dataclass(frozen=True)
class Searches:
    """Retrieval from the test images, which are the gallery."""

    retained: Retrieval | None  # the queries are the gallery's own images
    forgotten: Retrieval | None  # they are the images to forget


@dataclass(frozen=True)
class Relearning:
    """How many steps of training bring the forgotten images back."""

    steps: int | None  # None = not within max_steps
    max_steps: int
    recovered_others: float | None  # percent; None = nothing was recovered, or there are no others


@dataclass(frozen=True)
class Metrics:
    """Accuracies in percent; `None` means that there was nothing to measure it on."""

    forget_accuracy: float  # A_f, share of the images to forget that are misclassified
    robust_forget_accuracy: float  # the same, mean over fixed views of each image
    robust_forget_accuracy_by_view: dict[str, float]
    test_accuracy: float | None  # A_test
    retain_accuracy: float | None  # A_r
    collapse: float | None  # structural collapse against the parent
    membership: Membership | None  # the test images are the unseen ones
    retrieval: Searches | None
    streisand: Membership | None  # the same by marks inside the model; the test images are the unseen ones
    similarity: Similarity | None  # to the parent, on the test images, or else the retained ones; of a parent none
    retained_similarity: Similarity | None  # to the parent, on the retained images; of a parent none
    relearning: Relearning | None  # of a parent none, nor for more than 256 images
    left_out: Mapping[str, int | None] | None  # images of each evaluation set that show an image to forget

    def of_version(self) -> dict[str, float | None]:
        """The measurements that hold of the version whichever images were forgotten, by name."""
        return {each.path: getattr(self, each.path) for each in MEASUREMENTS if each.owner is Owner.VERSION}

    def membership_advantage(self) -> float | None:
        """|AUC − 0.5| of the worst attack against all unseen images."""
        return self.membership.unseen.advantage if self.membership and self.membership.unseen else None


class Probe:
    """Images on which structural collapse is followed: their affinities now against the original's (Figure 2a)."""

    def __init__(self, model: SplitClassifier, images: Tensor, anchors: Tensor) -> None:
        self._images = images
        with torch.no_grad():
            centre = model.split(images)[0].mean(0)
        self._structure: Structure = make_structure(
            anchors, rows=model.head.weight, centre=centre, raw=False, rng=torch.Generator().manual_seed(0)
        )
        self._original = affinities(model, images, self._structure)

    def collapse(self, model: SplitClassifier) -> float:
        """Structural collapse of `model` against the original: 0 = affinities as before, 2 = reversed."""
        return structural_collapse(self._original, affinities(model, self._images, self._structure))


def measure(
    model: SplitClassifier,
    outputs: ModelOutputs,
    *,
    forget: Batch,
    probe: Probe | None,
    parent: ModelOutputs | None = None,
    references: References | None = None,
    left_out: Mapping[str, int | None] | None = None,
) -> Metrics:
    """All measurements that the registered evaluation sets allow. Without `parent`, `model` is the parent.

    `references` are the log odds of reference models on the images of which `outputs` has outputs; `left_out` says how
    many images of the evaluation sets it has none of, because they are to be forgotten.
    """
    views = robust_forget_accuracy(model, forget)
    return Metrics(
        forget_accuracy=_forget_accuracy(outputs.forget.logits, forget.labels),
        robust_forget_accuracy=sum(views.values()) / len(views),
        robust_forget_accuracy_by_view=views,
        test_accuracy=outputs.test.accuracy if outputs.test else None,
        retain_accuracy=outputs.retain.accuracy if outputs.retain else None,
        collapse=probe.collapse(model) if probe else None,
        membership=_membership(outputs, references),
        streisand=_streisand(outputs),
        retrieval=_searches(outputs),
        similarity=_similarity(outputs.test, parent.test) or _similarity(outputs.retain, parent.retain)
        if parent
        else None,
        retained_similarity=_similarity(outputs.retain, parent.retain) if parent else None,
        relearning=_relearning(model, forget) if parent and len(forget) <= _MAX_RELEARNED else None,
        left_out=left_out,
    )


def measure_own(model: SplitClassifier, outputs: ModelOutputs, *, forget: Batch, own: list[int]) -> dict[str, float]:
    """The metrics that differ between requests of a shared run, over its images: `forget` at indices `own`."""
    batch = Batch(forget.images[own], forget.labels[own])
    views = robust_forget_accuracy(model, batch)
    return {
        "forget_accuracy": _forget_accuracy(outputs.forget.logits[own], batch.labels),
        "robust_forget_accuracy": sum(views.values()) / len(views),
    }


def _forget_accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * (margins(logits, labels) < 0).double().mean().item()


def _membership(outputs: ModelOutputs, references: References | None) -> Membership | None:
    if outputs.test is None or len(outputs.test.labels) < MIN_UNSEEN_IMAGES:
        return None
    forget, test = outputs.forget, outputs.test
    return membership(forget.logits, forget.labels, test.logits, test.labels, references=references)


def _streisand(outputs: ModelOutputs) -> Membership | None:
    if outputs.test is None or len(outputs.test.labels) < MIN_UNSEEN_IMAGES:
        return None
    forget, unseen = ((side.features, side.logits, side.labels) for side in (outputs.forget, outputs.test))
    return streisand(forget, unseen)


def _searches(outputs: ModelOutputs) -> Searches | None:
    if outputs.test is None:
        return None
    gallery, labels = outputs.test.features, outputs.test.labels
    own = torch.arange(len(labels), device=labels.device)
    return Searches(
        retained=retrieval(gallery, labels, gallery, labels, own=own),
        forgotten=retrieval(outputs.forget.features, outputs.forget.labels, gallery, labels),
    )


def _similarity(current: Outputs | None, parent: Outputs | None) -> Similarity | None:
    if current is None or parent is None:
        return None
    return Similarity(
        images=len(current.labels),
        cosine=mean_cosine(current.features, parent.features),
        cka=linear_cka(current.features, parent.features),
        agreement=agreement(current.logits, parent.logits),
        jensen_shannon=jensen_shannon(current.logits, parent.logits),
    )


def _relearning(model: SplitClassifier, forget: Batch) -> Relearning:
    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    return Relearning(
        steps=relearning_steps(model, forget, rng=rng()),
        max_steps=MAX_STEPS,
        recovered_others=generalising_relearning(model, forget, rng=rng()),
    )
