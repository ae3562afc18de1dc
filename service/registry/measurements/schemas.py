"""The measurements of a version, as they are stored and returned, and from which column to read them.

Percentages are 0 to 100; `null` means that there was nothing to measure it on. A field is missing in what was measured
before the field existed. docs/method.md says more about each.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes the standard library's from Python 3.12 on only

Percent = Annotated[float | None, Field(description="Percent, 0 to 100.")]
Count = Annotated[int, Field(description="Images.")]


class AttackMeasured(TypedDict, total=False):
    """One membership-inference attack on the images to forget, against a control group of unseen images."""

    auc: Annotated[
        float | None,
        Field(description="P(an image to forget scores above a control), ties half; 0 to 1, 0.5 = cannot tell."),
    ]
    advantage: Annotated[float | None, Field(description="|AUC − 0.5|, 0 to 0.5.")]
    tpr_at_1_fpr_high: Annotated[
        float | None,
        Field(description="Share, 0 to 1, that scores above all but 1 % of the controls: still recognised as members."),
    ]
    tpr_at_1_fpr_low: Annotated[
        float | None,
        Field(description="Share, 0 to 1, that scores below all but 1 % of the controls: stands out as forgotten."),
    ]


class InferenceMeasured(TypedDict, total=False):
    """All attacks against one control group."""

    controls: Count
    advantage: Annotated[float | None, Field(description="|AUC − 0.5| of the worst attack, 0 to 0.5.")]
    worst_attack: str
    attacks: Annotated[
        dict[str, AttackMeasured],
        Field(
            description="By name. In `membership`: `loss`, `confidence`, `entropy`, `modified_entropy`, `margin`, and "
            "with reference models `lira`, `rmia`. In `streisand`: `loss`, `entropy`, `feature_norm`, `class_distance`."
        ),
    ]


class MembershipMeasured(TypedDict, total=False):
    """The images to forget against the registered test set as unseen images, at most 2,000 of them."""

    unseen: Annotated[InferenceMeasured | None, Field(description="Against all of them.")]
    unseen_misclassified: Annotated[
        InferenceMeasured | None,
        Field(
            description="Against those that this version gets wrong, the fair group for images misclassified on "
            "purpose; `null` if there are none."
        ),
    ]


class RetrievalMeasured(TypedDict, total=False):
    """What queries find by cosine similarity of features."""

    recall_at_1: Percent
    recall_at_5: Percent
    recall_at_10: Percent
    mean_average_precision: Percent
    queries: Annotated[int, Field(description="Queries with an image of their class to find.")]
    without_relevant: Annotated[int, Field(description="Queries without one, which are left out.")]


class SearchesMeasured(TypedDict, total=False):
    """Retrieval from at most 2,000 test images."""

    retained: Annotated[
        RetrievalMeasured | None, Field(description="The queries are these test images, each searching the others.")
    ]
    forgotten: Annotated[RetrievalMeasured | None, Field(description="The queries are the images to forget.")]


class SimilarityMeasured(TypedDict, total=False):
    """How much of the parent is left, on at most 2,000 images."""

    images: Count
    cosine: Annotated[float | None, Field(description="Mean cosine of an image's features then and now, −1 to 1.")]
    cka: Annotated[float | None, Field(description="Linear centred kernel alignment of the features, 0 to 1.")]
    agreement: Annotated[float | None, Field(description="Percent, 0 to 100, that both versions give one class.")]
    jensen_shannon: Annotated[
        float | None, Field(description="Mean Jensen–Shannon divergence of the predictions, nats, 0 to ln 2 ≈ 0.693.")
    ]


class RelearningMeasured(TypedDict, total=False):
    """How quickly the images to forget come back when a copy of the version is trained on them."""

    steps: Annotated[
        int | None,
        Field(
            description="Steps of SGD (lr 1e-3, momentum 0.9, batches of 64) until less than 5 % of them are "
            "misclassified; `null` if `max_steps` were not enough. More is better forgotten."
        ),
    ]
    max_steps: int
    recovered_others: Annotated[
        float | None,
        Field(
            description="Percent, 0 to 100, of the images that come back once a random tenth of them was trained on "
            "until it did, among those not trained on; `null` if it did not, or there are no others."
        ),
    ]


class LeftOutMeasured(TypedDict, total=False):
    """How many images of an evaluation set show an image to forget, and are in no measurement of that set."""

    test: Annotated[int | None, Field(description="Of the test set; `null` without one.")]
    retain: Annotated[int | None, Field(description="Of the retained set; `null` without one.")]


class Measurements(TypedDict, total=False):
    """What one version was measured to be."""

    forget_accuracy: Annotated[float | None, Field(description="A_f: percent of the images to forget misclassified.")]
    robust_forget_accuracy: Annotated[float | None, Field(description="Mean of A_f over ten views of each image.")]
    robust_forget_accuracy_by_view: Annotated[dict[str, float | None], Field(description="A_f in percent, by view.")]
    test_accuracy: Annotated[float | None, Field(description="A_test, percent of the test set classified correctly.")]
    retain_accuracy: Annotated[float | None, Field(description="A_r, the same of the retained set.")]
    collapse: Annotated[
        float | None, Field(description="Structural collapse against the parent, 0 = intact to 2 = reversed.")
    ]
    membership: Annotated[
        MembershipMeasured | None,
        Field(description="Membership inference by the model's answers; `null` without a test set of 100 images."),
    ]
    streisand: Annotated[
        MembershipMeasured | None,
        Field(
            description="Whether having been forgotten is itself a mark, to somebody who sees into the model; `null` "
            "without a test set of 100 images."
        ),
    ]
    retrieval: Annotated[SearchesMeasured | None, Field(description="`null` without a test set.")]
    similarity: Annotated[
        SimilarityMeasured | None,
        Field(
            description="To the parent, on the test set or else the retained one; `null` before, and without either."
        ),
    ]
    retained_similarity: Annotated[
        SimilarityMeasured | None,
        Field(description="To the parent, on the retained set; `null` before, and without one."),
    ]
    relearning: Annotated[
        RelearningMeasured | None, Field(description="`null` before, and for more than 256 images to forget.")
    ]
    left_out: Annotated[
        LeftOutMeasured | None,
        Field(description="Images of evaluation sets that are to be forgotten, and were left out of all else."),
    ]


class BeforeAndAfter(TypedDict, total=False):
    """The version that was unlearned from, and the one that came of it; empty until both are measured."""

    before: Measurements
    after: Measurements


def of_request(own: Mapping[str, Any] | None, of_run: Mapping[str, Any]) -> BeforeAndAfter:
    """The measurements of a request: of its own images if it shared its run, else those of the run."""
    return cast("BeforeAndAfter", {when: _merged(values, (own or {}).get(when)) for when, values in of_run.items()})


def of_version(
    own: Mapping[str, Any], of_run: Mapping[str, Any] | None, when: Literal["before", "after"] = "after"
) -> Measurements:
    """The measurements of a version: its own, or else those of the run that made it, or began from it."""
    return cast("Measurements", _merged((of_run or {}).get(when), own))


def _merged(of_run: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(of_run or {}), **{name: value for name, value in (own or {}).items() if value is not None}}
