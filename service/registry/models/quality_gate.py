"""The quality gate: the limits that a new version must keep, or it needs review."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.registry.fields import Real
from service.registry.options import Options
from service.registry.reasons import Objection, ObjectionKind

MIN_UNSEEN_IMAGES = 100  # with fewer test images, membership inference is not measured


class Policy(BaseModel):
    """The limits of one model's gate, and the disposition of the parent of a version that passes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    parent_disposition: Literal["keep", "quarantine", "delete"] = Field(
        default="keep",
        description="What becomes of a version when a run makes one of it that passes the gate. It stays as it is "
        "while an alias points to it that does not follow the gate.",
    )
    max_test_accuracy_drop: Real = Field(
        default=5.0, ge=0, le=100, description="Percentage points of A_test that a version may lose against its parent."
    )
    max_collapse: Real = Field(
        default=0.25, ge=0, le=2, description="Structural collapse (1 − mean cosine of affinities) that is tolerated."
    )
    min_robust_forget_accuracy: Real = Field(
        default=80.0,
        ge=0,
        le=100,
        description="Percent of the views (flips, shifts, noise, …) of the images to forget that must be misclassified "
        "where the scope is `views` and the goal `misclassify`.",
    )
    max_membership_advantage: Real = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="|AUC − 0.5| that the best membership-inference attack may reach against unseen test images where "
        "the goal is `indistinguishable`; `lira` and `rmia` count where they were tried. Chance alone spreads the AUC "
        "of k images by about 0.3 / √k.",
    )


@dataclass(frozen=True)
class GateMeasurements:
    """The measurements that the gate compares with its limits. Accuracies in percent; `None` means not measured."""

    forget_accuracy: float
    robust_forget_accuracy: float
    membership_advantage: float | None
    test_accuracy_before: float | None
    test_accuracy_after: float | None
    collapse: float | None
    finite: bool


def objections(policy: Policy, options: Options, measured: GateMeasurements) -> list[Objection]:
    """Why the version needs review; empty when it passes.

    A cost (accuracy drop, collapse) that was not measured is no objection; a goal that was not measured is one.
    """
    weights = [] if measured.finite else [Objection(ObjectionKind.WEIGHTS_NOT_FINITE)]
    goal = _indistinguishable if options.goal == "indistinguishable" else _misclassified
    return weights + goal(policy, options, measured) + _cost(policy, measured)


def _misclassified(policy: Policy, options: Options, measured: GateMeasurements) -> list[Objection]:
    failed = []
    if not measured.forget_accuracy >= 100:  # also when it is not a number
        failed.append(Objection(ObjectionKind.FORGET_ACCURACY, measured.forget_accuracy, 100))
    robust, minimum = measured.robust_forget_accuracy, policy.min_robust_forget_accuracy
    if options.resolved_scope() == "views" and not robust >= minimum:
        failed.append(Objection(ObjectionKind.ROBUST_FORGET_ACCURACY, robust, minimum))
    return failed


def _indistinguishable(policy: Policy, _: Options, measured: GateMeasurements) -> list[Objection]:
    advantage, limit = measured.membership_advantage, policy.max_membership_advantage
    if advantage is None:
        return [Objection(ObjectionKind.MEMBERSHIP_NOT_MEASURED, limit=MIN_UNSEEN_IMAGES)]
    if not advantage <= limit:
        return [Objection(ObjectionKind.MEMBERSHIP_ADVANTAGE, advantage, limit)]
    return []


def _cost(policy: Policy, measured: GateMeasurements) -> list[Objection]:
    failed = []
    if measured.test_accuracy_before is not None and measured.test_accuracy_after is not None:
        drop = measured.test_accuracy_before - measured.test_accuracy_after
        if not drop <= policy.max_test_accuracy_drop:
            failed.append(Objection(ObjectionKind.TEST_ACCURACY_DROP, drop, policy.max_test_accuracy_drop))
    if measured.collapse is not None and not measured.collapse <= policy.max_collapse:
        failed.append(Objection(ObjectionKind.COLLAPSE, measured.collapse, policy.max_collapse))
    return failed
