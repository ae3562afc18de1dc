"""What was measured before and after a run, row by row, beside what the gate allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.registry.models.quality_gate import Policy
from service.registry.options import Options

#: By name: what it says, where it stands, its unit, and the largest value of its scale.
_ROWS = (
    ("A_f", "images to forget that are misclassified", ("forget_accuracy",), "%", 100.0),
    (
        "robust A_f",
        "their flipped, shifted, noisy … copies that are misclassified",
        ("robust_forget_accuracy",),
        "%",
        100.0,
    ),
    ("A_test", "test images that are right", ("test_accuracy",), "%", 100.0),
    ("A_r", "retained images that are right", ("retain_accuracy",), "%", 100.0),
    ("collapse", "structural collapse against the parent, 0 = intact", ("collapse",), "", 2.0),
    ("membership", "advantage of the best attack, 0 = cannot tell", ("membership", "unseen", "advantage"), "", 0.5),
    ("relearning", "steps of training until they are known again", ("relearning", "steps"), "", None),
)


@dataclass(frozen=True)
class Measured:
    """One measurement, before and after."""

    name: str
    meaning: str
    before: float | None
    after: float | None
    unit: str
    limit: str  #: what the gate asks for; empty where it asks for nothing
    start: float | None  #: where `before` lies on the scale, in percent of it
    end: float | None

    @property
    def change(self) -> float | None:
        """After minus before, where both were measured."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def digits(self) -> int:
        """How many digits after the point say something."""
        return 2 if self.unit else 3


def side_by_side(before: Mapping[str, Any], after: Mapping[str, Any], limits: Mapping[str, str]) -> list[Measured]:
    """One row for each measurement that there is of either."""
    rows = []
    for name, meaning, path, unit, most in _ROWS:
        first, second = value(before, *path), value(after, *path)
        if first is None and second is None:
            continue
        start, end = (None if it is None or most is None else _share(it, most) for it in (first, second))
        rows.append(Measured(name, meaning, first, second, unit, limits.get(name, ""), start, end))
    return rows


def before_and_after(
    metrics: Mapping[str, Any], policy: Mapping[str, Any], options: Mapping[str, Any]
) -> list[Measured]:
    """One row for each measurement that there is; none before both versions were measured."""
    limits = _limits(Policy.model_validate(policy), Options.model_validate(options))
    return side_by_side(metrics.get("before") or {}, metrics.get("after") or {}, limits)


def value(metrics: Mapping[str, Any], *path: str) -> float | None:
    """A number inside of nested measurements."""
    found: Any = metrics
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def _share(amount: float, most: float) -> float:
    return round(100 * min(1.0, max(0.0, amount / most)), 1)


def _limits(policy: Policy, options: Options) -> dict[str, str]:
    limits = {
        "A_test": f"may fall by {policy.max_test_accuracy_drop:g}",
        "collapse": f"at most {policy.max_collapse:g}",
    }
    if options.goal == "indistinguishable":
        return limits | {"membership": f"at most {policy.max_membership_advantage:g}"}
    if options.resolved_scope() == "views":
        limits["robust A_f"] = f"at least {policy.min_robust_forget_accuracy:g} %"
    return limits | {"A_f": "100 %"}
