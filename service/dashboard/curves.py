"""The charts of a run, and of a model's versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.registry.measurements.definitions import (
    COLLAPSE,
    CURVES,
    FORGET_ACCURACY,
    RETAIN_ACCURACY,
    ROBUST_FORGET_ACCURACY,
    TEST_ACCURACY,
    Measurement,
)
from service.registry.tables import StepMetric
from service.web.charts import Chart, Point, Series, line_chart

_KNOWN = {measurement.path for measurement in CURVES}


def of_run(points: Sequence[StepMetric]) -> list[Chart]:
    """A_f, structural collapse, and each term of the loss on a scale of its own, over the steps of an attempt."""
    values = [(float(point.step), point.values) for point in points]
    terms = [name for name in dict.fromkeys(name for _, of_step in values for name in of_step) if name not in _KNOWN]
    wanted = [
        line_chart(
            "A_f, % misclassified",
            [Series(one.label, _points(values, one.path)) for one in CURVES if one.unit == "%"],
            x_name="step",
            low=0,
            high=100,
        ),
        line_chart(COLLAPSE.heading, [Series(COLLAPSE.label, _points(values, COLLAPSE.path))], x_name="step", low=0),
        *(_of_term(name, _points(values, name)) for name in terms),
    ]
    return [chart for chart in wanted if chart is not None]


def of_versions(metrics: Mapping[int, Mapping[str, Any]]) -> list[Chart]:
    """What was forgotten, what was kept, and collapse, over the numbers of a model's versions."""
    values = [(float(number), of_it) for number, of_it in sorted(metrics.items())]

    def drawn(title: str, *of: Measurement, low: float | None = None, high: float | None = None) -> Chart | None:
        series = [Series(measurement.label, _points(values, measurement.path)) for measurement in of]
        return line_chart(title, series, x_name="version", low=low, high=high)

    wanted = (
        drawn("Forgotten, % misclassified", FORGET_ACCURACY, ROBUST_FORGET_ACCURACY, low=0, high=100),
        drawn("Kept, % right", TEST_ACCURACY, RETAIN_ACCURACY),
        drawn(COLLAPSE.heading, COLLAPSE, low=0),
    )
    return [chart for chart in wanted if chart is not None]


def _of_term(name: str, points: list[Point]) -> Chart | None:
    shown = name.replace("_", " ")
    return line_chart(f"Loss: {shown}", [Series(shown, points)], x_name="step", low=0)


def _points(values: Sequence[tuple[float, Mapping[str, Any]]], name: str) -> list[Point]:
    return [(at, float(found)) for at, of_it in values if isinstance(found := of_it.get(name), int | float)]
