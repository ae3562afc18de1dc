"""What each measurement is called, what it means, and of what it holds. Whatever shows measurements reads it here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Literal


class Owner(StrEnum):
    """Of what a measurement holds; this decides where it is stored."""

    VERSION = "version"  #: the version, whichever images a run was about: in `Version.metrics` and in `Job.metrics`
    REQUEST = "request"  #: its images: in `Job.metrics`, and if it shared the run its own in `DeletionRequest.metrics`
    RUN = "run"  #: the images of all its requests, or one version beside the other: in `Job.metrics`


class Detail(IntEnum):
    """How much is shown. Each has everything of those above it."""

    HEADLINE = 1  #: Prometheus, and two versions compared over HTTP
    PAGE = 2  #: the dashboard
    TERMINAL = 3  #: the command line
    CERTIFICATE = 4


@dataclass(frozen=True)
class Measurement:
    """One number, from 0 to `most`."""

    path: str  #: names in `Measurements`, joined by dots
    label: str
    unit: Literal["%", "steps", ""]
    most: float | None  #: None = no limit
    owner: Owner
    detail: Detail
    sentence: str  #: for a certificate, whose reader knows neither the product nor the field
    phrase: str = ""  #: for operators, after the label; nothing where it is in certificates only

    @property
    def heading(self) -> str:
        """The label with a capital and the unit, such as "Robust A_f, %"."""
        return self.label[0].upper() + self.label[1:] + (f", {self.unit}" if self.unit else "")

    def group(self, measured: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it stands in, such as all that a kind of attack came to; empty where that was not measured."""
        for name in self.path.split(".")[:-1]:
            measured = measured.get(name) or {}
        return measured

    def of(self, measured: Mapping[str, Any]) -> float | None:
        """Its value among `Measurements`; None where it was not measured."""
        value = self.group(measured).get(self.path.rpartition(".")[2])
        return value if isinstance(value, int | float) else None


FORGET_ACCURACY = Measurement(
    *("forget_accuracy", "A_f", "%", 100, Owner.REQUEST, Detail.HEADLINE),
    "Share of the named images that the model classifies differently than they are labelled.",
    "images to forget that are misclassified",
)
ROBUST_FORGET_ACCURACY = Measurement(
    *("robust_forget_accuracy", "robust A_f", "%", 100, Owner.REQUEST, Detail.HEADLINE),
    "The same over altered copies: flipped, shifted, noisy, lighter, darker, rotated.",
    "altered copies that are misclassified",
)
TEST_ACCURACY = Measurement(
    *("test_accuracy", "A_test", "%", 100, Owner.VERSION, Detail.HEADLINE),
    "Share of the registered test images that are classified correctly.",
    "test images that are classified correctly",
)
RETAIN_ACCURACY = Measurement(
    *("retain_accuracy", "A_r", "%", 100, Owner.VERSION, Detail.HEADLINE),
    "The same of the images that the model is to keep.",
    "retained images that are classified correctly",
)
COLLAPSE = Measurement(
    *("collapse", "structural collapse", "", 2, Owner.VERSION, Detail.HEADLINE),
    "How far the order of what the model knows has moved: 0 = not at all, 2 = reversed.",
    "against the parent, 0 = intact",
)
MEMBERSHIP = Measurement(
    *("membership.unseen.advantage", "membership advantage", "", 0.5, Owner.RUN, Detail.PAGE),
    "How well the best attack tells the named images from unseen ones: 0 = not at all, 0.5 = always.",
    "best attack, 0 = cannot tell",
)

#: Everything that somebody is told by name, the most important first.
MEASUREMENTS = (
    FORGET_ACCURACY,
    ROBUST_FORGET_ACCURACY,
    TEST_ACCURACY,
    RETAIN_ACCURACY,
    COLLAPSE,
    MEMBERSHIP,
    Measurement(
        *("membership.unseen_misclassified.advantage", "the same among errors", "", 0.5, Owner.RUN, Detail.TERMINAL),
        "Against those unseen images that the model gets wrong, too.",
        "misclassified test images",
    ),
    Measurement(
        *("membership.unseen.attacks.lira.advantage", "membership advantage, LiRA", "", 0.5, Owner.RUN),
        Detail.CERTIFICATE,
        "By one attack of these, comparing with reference models, which never learned the images.",
    ),
    Measurement(
        *("membership.unseen.attacks.rmia.advantage", "membership advantage, RMIA", "", 0.5, Owner.RUN),
        Detail.CERTIFICATE,
        "The same, by another comparison.",
    ),
    Measurement(
        *("streisand.unseen.advantage", "Streisand advantage", "", 0.5, Owner.RUN, Detail.CERTIFICATE),
        "The same by marks inside the model: whether having been forgotten is what tells them.",
    ),
    Measurement(
        *("streisand.unseen_misclassified.advantage", "Streisand advantage among errors", "", 0.5, Owner.RUN),
        Detail.CERTIFICATE,
        "Against those unseen images that the model gets wrong, too.",
    ),
    Measurement(
        *("relearning.steps", "relearning", "steps", None, Owner.RUN, Detail.PAGE),
        "Steps of training after which the named images are classified as before.",
        "training steps until known again",
    ),
    Measurement(
        *("similarity.agreement", "agreement", "%", 100, Owner.RUN, Detail.TERMINAL),
        "Share of other images to which both versions give one class.",
        "predictions that stayed the same",
    ),
    Measurement(
        *("similarity.cka", "similarity of features", "", 1, Owner.RUN, Detail.CERTIFICATE),
        "0 = unrelated, 1 = the same, on other images.",
    ),
    Measurement(
        *("retained_similarity.agreement", "agreement on kept images", "%", 100, Owner.RUN, Detail.CERTIFICATE),
        "The same, over the images that are to be kept.",
    ),
    Measurement(
        *("retained_similarity.cka", "similarity on kept images", "", 1, Owner.RUN, Detail.CERTIFICATE),
        "0 = unrelated, 1 = the same, on these.",
    ),
    Measurement(
        *("retrieval.forgotten.recall_at_1", "retrieval", "%", 100, Owner.RUN, Detail.CERTIFICATE),
        "Share of the named images whose nearest test image is of their class.",
    ),
    Measurement(
        *("retrieval.retained.recall_at_1", "retrieval of others", "%", 100, Owner.RUN, Detail.CERTIFICATE),
        "The same of the test images among themselves.",
    ),
)

#: What the steps of a run have, beside the terms of its loss.
CURVES = (
    FORGET_ACCURACY,
    Measurement(
        *("view_accuracy", "A_f of views", "%", 100, Owner.RUN, Detail.PAGE),
        "The same of their views, where these are aimed at.",
        "their views that are misclassified, where these are aimed at",
    ),
    COLLAPSE,
)

#: How the paths begin of what is measured without the images to forget. All else takes them.
WITHOUT_IMAGES = (
    *(each.path for each in MEASUREMENTS if each.owner is Owner.VERSION),
    *("similarity", "retained_similarity", "retrieval.retained"),
)


def shown(detail: Detail) -> list[Measurement]:
    """What is shown at this level of detail."""
    return [each for each in MEASUREMENTS if each.detail <= detail]
