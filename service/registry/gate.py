"""The quality gate: what must hold before a new version counts as done."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class Policy(BaseModel):
    """The limits of one model's gate."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_test_accuracy_drop: float = Field(
        default=5.0, ge=0, le=100, description="Percentage points of A_test that a version may lose against its parent."
    )
    max_collapse: float = Field(
        default=0.25, ge=0, le=2, description="Structural collapse (1 − mean cosine of affinities) that is tolerated."
    )


@dataclass(frozen=True)
class Measured:
    """What the gate looks at. Accuracies in percent; `None` means not measured."""

    forget_accuracy: float
    test_accuracy_before: float | None
    test_accuracy_after: float | None
    collapse: float | None
    finite: bool


def objections(policy: Policy, measured: Measured) -> list[str]:
    """Why the version needs review; empty when it passes. What was not measured is not held against it."""
    found = []
    if not measured.finite:
        found.append("some weights are not finite")
    if not measured.forget_accuracy >= 100:  # also when it is not a number
        found.append(f"only {measured.forget_accuracy:.1f} % of the images to forget are misclassified")
    if measured.test_accuracy_before is not None and measured.test_accuracy_after is not None:
        drop = measured.test_accuracy_before - measured.test_accuracy_after
        if not drop <= policy.max_test_accuracy_drop:
            found.append(f"A_test fell by {drop:.2f} points, {policy.max_test_accuracy_drop:g} are allowed")
    if measured.collapse is not None and not measured.collapse <= policy.max_collapse:
        found.append(f"structural collapse is {measured.collapse:.3f}, {policy.max_collapse:g} is allowed")
    return found
