"""What was measured before and after a run, row by row, beside what the gate allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.registry.measurements.definitions import (
    COLLAPSE,
    FORGET_ACCURACY,
    MEMBERSHIP,
    ROBUST_FORGET_ACCURACY,
    TEST_ACCURACY,
    Detail,
    shown,
)
from service.registry.models.quality_gate import Policy
from service.registry.options import Options


@dataclass(frozen=True)
class MeasurementRow:
    """One row of the table: a measurement before and after."""

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


def side_by_side(
    before: Mapping[str, Any], after: Mapping[str, Any], limits: Mapping[str, str]
) -> list[MeasurementRow]:
    """One row for each measurement that there is of either; `limits` are what the gate asks for, by path."""
    rows = []
    for measurement in shown(Detail.PAGE):
        first, second = measurement.of(before), measurement.of(after)
        if first is None and second is None:
            continue
        most = measurement.maximum
        start, end = (None if it is None or most is None else _share(it, most) for it in (first, second))
        limit = limits.get(measurement.path, "")
        rows.append(
            MeasurementRow(measurement.label, measurement.phrase, first, second, measurement.unit, limit, start, end)
        )
    return rows


def before_and_after(
    metrics: Mapping[str, Any], policy: Mapping[str, Any], options: Mapping[str, Any]
) -> list[MeasurementRow]:
    """One row for each measurement that there is; none before both versions were measured."""
    limits = _limits(Policy.model_validate(policy), Options.model_validate(options))
    return side_by_side(metrics.get("before") or {}, metrics.get("after") or {}, limits)


def _share(amount: float, most: float) -> float:
    return round(100 * min(1.0, max(0.0, amount / most)), 1)


def _limits(policy: Policy, options: Options) -> dict[str, str]:
    limits = {
        TEST_ACCURACY.path: f"may fall by {policy.max_test_accuracy_drop:g}",
        COLLAPSE.path: f"at most {policy.max_collapse:g}",
    }
    if options.goal == "indistinguishable":
        return limits | {MEMBERSHIP.path: f"at most {policy.max_membership_advantage:g}"}
    if options.resolved_scope() == "views":
        limits[ROBUST_FORGET_ACCURACY.path] = f"at least {policy.min_robust_forget_accuracy:g} %"
    return limits | {FORGET_ACCURACY.path: "100 %"}
