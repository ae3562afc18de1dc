"""Rows of measurements before and after a run, with the limits of the quality gate."""

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
    """One measurement, before and after."""

    name: str
    meaning: str
    before: float | None
    after: float | None
    unit: str
    limit: str  #: of the gate, in words; empty where it has none
    start: float | None  #: `before` in percent of the largest possible value; `None` where there is no such value
    end: float | None  #: the same of `after`

    @property
    def change(self) -> float | None:
        """After minus before, where both were measured."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def digits(self) -> int:
        """Digits after the decimal point to show."""
        return 2 if self.unit else 3


def side_by_side(
    before: Mapping[str, Any], after: Mapping[str, Any], limits: Mapping[str, str]
) -> list[MeasurementRow]:
    """One row for each measurement that either version has; `limits` are those of the gate in words, by path."""
    rows = []
    for measurement in shown(Detail.PAGE):
        first, second = measurement.of(before), measurement.of(after)
        if first is None and second is None:
            continue
        most = measurement.maximum
        start, end = (None if value is None or most is None else _percent(value, most) for value in (first, second))
        limit = limits.get(measurement.path, "")
        rows.append(
            MeasurementRow(
                name=measurement.label,
                meaning=measurement.phrase,
                before=first,
                after=second,
                unit=measurement.unit,
                limit=limit,
                start=start,
                end=end,
            )
        )
    return rows


def before_and_after(
    metrics: Mapping[str, Any], policy: Mapping[str, Any], options: Mapping[str, Any]
) -> list[MeasurementRow]:
    """One row for each measurement of a request, with the limits of its model's gate; none before its run measured."""
    limits = _limits(Policy.model_validate(policy), Options.model_validate(options))
    return side_by_side(metrics.get("before") or {}, metrics.get("after") or {}, limits)


def _percent(amount: float, most: float) -> float:
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
