"""Name, unit, range, meaning and owner of each measurement, for everything that shows measurements."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Literal


class Owner(StrEnum):
    """What a measurement is a property of; this decides where it is stored."""

    VERSION = "version"  #: the version, whichever images a run was about: in `Version.metrics` and in `Job.metrics`
    REQUEST = "request"  #: its images: in `Job.metrics`, and if it shared the run its own in `DeletionRequest.metrics`
    RUN = "run"  #: the images of all its requests, or one version beside the other: in `Job.metrics`


class Detail(IntEnum):
    """Level of detail. Each level shows its own measurements and those of the levels above it."""

    HEADLINE = 1  #: Prometheus, and two versions compared over HTTP
    PAGE = 2  #: the dashboard
    TERMINAL = 3  #: the command line
    CERTIFICATE = 4


@dataclass(frozen=True)
class Measurement:
    """One measured number, from 0 to `maximum`."""

    path: str  #: names in `Measurements`, joined by dots
    label: str
    unit: Literal["%", "steps", "images", ""]
    maximum: float | None  #: None = no limit
    owner: Owner
    detail: Detail
    sentence: str  #: for a certificate, whose reader knows neither the product nor the field
    phrase: str = ""  #: for operators, after the label; empty where it is in certificates only

    @property
    def heading(self) -> str:
        """The label with a capital and the unit, such as "Robust A_f, %"."""
        return self.label[0].upper() + self.label[1:] + (f", {self.unit}" if self.unit else "")

    def group(self, measured: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping that holds the value, such as all results of an attack; empty where that was not measured."""
        for name in self.path.split(".")[:-1]:
            measured = measured.get(name) or {}
        return measured

    def of(self, measured: Mapping[str, Any]) -> float | None:
        """Its value among `Measurements`; None where it was not measured."""
        value = self.group(measured).get(self.path.rpartition(".")[2])
        return value if isinstance(value, int | float) else None


FORGET_ACCURACY = Measurement(
    path="forget_accuracy",
    label="A_f",
    unit="%",
    maximum=100,
    owner=Owner.REQUEST,
    detail=Detail.HEADLINE,
    sentence="Share of the named images that the model classifies differently than they are labelled.",
    phrase="images to forget that are misclassified",
)
ROBUST_FORGET_ACCURACY = Measurement(
    path="robust_forget_accuracy",
    label="robust A_f",
    unit="%",
    maximum=100,
    owner=Owner.REQUEST,
    detail=Detail.HEADLINE,
    sentence="The same over altered copies: flipped, shifted, noisy, lighter, darker, rotated.",
    phrase="altered copies that are misclassified",
)
TEST_ACCURACY = Measurement(
    path="test_accuracy",
    label="A_test",
    unit="%",
    maximum=100,
    owner=Owner.VERSION,
    detail=Detail.HEADLINE,
    sentence="Share of the registered test images that are classified correctly.",
    phrase="test images that are classified correctly",
)
RETAIN_ACCURACY = Measurement(
    path="retain_accuracy",
    label="A_r",
    unit="%",
    maximum=100,
    owner=Owner.VERSION,
    detail=Detail.HEADLINE,
    sentence="The same of the images that the model is to keep.",
    phrase="retained images that are classified correctly",
)
COLLAPSE = Measurement(
    path="collapse",
    label="structural collapse",
    unit="",
    maximum=2,
    owner=Owner.VERSION,
    detail=Detail.HEADLINE,
    sentence="How far the order of what the model knows has moved: 0 = not at all, 2 = reversed.",
    phrase="against the parent, 0 = intact",
)
MEMBERSHIP = Measurement(
    path="membership.unseen.advantage",
    label="membership advantage",
    unit="",
    maximum=0.5,
    owner=Owner.RUN,
    detail=Detail.PAGE,
    sentence="How well the best attack tells the named images from unseen ones: 0 = not at all, 0.5 = always.",
    phrase="best attack, 0 = cannot tell",
)

#: All measurements that are shown by name, the most important first.
MEASUREMENTS = (
    FORGET_ACCURACY,
    ROBUST_FORGET_ACCURACY,
    TEST_ACCURACY,
    RETAIN_ACCURACY,
    COLLAPSE,
    MEMBERSHIP,
    Measurement(
        path="membership.unseen_misclassified.advantage",
        label="the same among errors",
        unit="",
        maximum=0.5,
        owner=Owner.RUN,
        detail=Detail.TERMINAL,
        sentence="Against those unseen images that the model gets wrong, too.",
        phrase="misclassified test images",
    ),
    Measurement(
        path="membership.unseen.attacks.lira.advantage",
        label="membership advantage, LiRA",
        unit="",
        maximum=0.5,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="By one attack of these, comparing with reference models, which never learned the images.",
    ),
    Measurement(
        path="membership.unseen.attacks.rmia.advantage",
        label="membership advantage, RMIA",
        unit="",
        maximum=0.5,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="The same, by another comparison.",
    ),
    Measurement(
        path="streisand.unseen.advantage",
        label="Streisand advantage",
        unit="",
        maximum=0.5,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="The same by marks inside the model: whether having been forgotten is what tells them.",
    ),
    Measurement(
        path="streisand.unseen_misclassified.advantage",
        label="Streisand advantage among errors",
        unit="",
        maximum=0.5,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="Against those unseen images that the model gets wrong, too.",
    ),
    Measurement(
        path="relearning.steps",
        label="relearning",
        unit="steps",
        maximum=None,
        owner=Owner.RUN,
        detail=Detail.PAGE,
        sentence="Steps of training after which the named images are classified as before.",
        phrase="training steps until known again",
    ),
    Measurement(
        path="similarity.agreement",
        label="agreement",
        unit="%",
        maximum=100,
        owner=Owner.RUN,
        detail=Detail.TERMINAL,
        sentence="Share of other images to which both versions give one class.",
        phrase="predictions that stayed the same",
    ),
    Measurement(
        path="similarity.cka",
        label="similarity of features",
        unit="",
        maximum=1,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="0 = unrelated, 1 = the same, on other images.",
    ),
    Measurement(
        path="retained_similarity.agreement",
        label="agreement on kept images",
        unit="%",
        maximum=100,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="The same, over the images that are to be kept.",
    ),
    Measurement(
        path="retained_similarity.cka",
        label="similarity on kept images",
        unit="",
        maximum=1,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="0 = unrelated, 1 = the same, on these.",
    ),
    Measurement(
        path="retrieval.forgotten.recall_at_1",
        label="retrieval",
        unit="%",
        maximum=100,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="Share of the named images whose nearest test image is of their class.",
    ),
    Measurement(
        path="retrieval.retained.recall_at_1",
        label="retrieval of others",
        unit="%",
        maximum=100,
        owner=Owner.RUN,
        detail=Detail.CERTIFICATE,
        sentence="The same of the test images among themselves.",
    ),
    Measurement(
        path="left_out.test",
        label="left out of the test set",
        unit="images",
        maximum=None,
        owner=Owner.RUN,
        detail=Detail.PAGE,
        sentence="Registered test images that show a named image: nothing above is measured on them.",
        phrase="images that show one to forget",
    ),
    Measurement(
        path="left_out.retain",
        label="left out of the retained set",
        unit="images",
        maximum=None,
        owner=Owner.RUN,
        detail=Detail.PAGE,
        sentence="The same of the images that the model is to keep.",
        phrase="images that show one to forget",
    ),
)

#: The curves of a run, one value a step, beside the terms of its loss.
CURVES = (
    FORGET_ACCURACY,
    Measurement(
        path="view_accuracy",
        label="A_f of views",
        unit="%",
        maximum=100,
        owner=Owner.RUN,
        detail=Detail.PAGE,
        sentence="The same of their views, where these are aimed at.",
        phrase="their views that are misclassified, where these are aimed at",
    ),
    COLLAPSE,
)

#: Path prefixes of the measurements that do not need the images to forget.
WITHOUT_IMAGES = (
    *(each.path for each in MEASUREMENTS if each.owner is Owner.VERSION),
    *("similarity", "retained_similarity", "retrieval.retained"),
)


def shown(detail: Detail) -> list[Measurement]:
    """The measurements shown at this level of detail."""
    return [each for each in MEASUREMENTS if each.detail <= detail]
