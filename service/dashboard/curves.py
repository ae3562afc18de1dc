"""Line charts of a run over its steps, and of a model over its versions."""

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

_STANDARD_CURVES = {measurement.path for measurement in CURVES}


def of_run(points: Sequence[StepMetric]) -> list[Chart]:
    """A_f, structural collapse, and each term of the loss on a scale of its own, over the steps of an attempt."""
    values = [(float(point.step), point.values) for point in points]
    terms = [
        name
        for name in dict.fromkeys(name for _, metrics in values for name in metrics)
        if name not in _STANDARD_CURVES
    ]
    charts = [
        line_chart(
            "A_f, % misclassified",
            [Series(curve.label, _points(values, curve.path)) for curve in CURVES if curve.unit == "%"],
            x_name="step",
            low=0,
            high=100,
        ),
        line_chart(COLLAPSE.heading, [Series(COLLAPSE.label, _points(values, COLLAPSE.path))], x_name="step", low=0),
        *(_loss_chart(name, _points(values, name)) for name in terms),
    ]
    return [chart for chart in charts if chart is not None]


def of_versions(metrics: Mapping[int, Mapping[str, Any]]) -> list[Chart]:
    """What was forgotten, what was kept, and collapse, over the numbers of a model's versions."""
    values = [(float(number), of_version) for number, of_version in sorted(metrics.items())]

    def draw(
        title: str, *measurements: Measurement, low: float | None = None, high: float | None = None
    ) -> Chart | None:
        series = [Series(measurement.label, _points(values, measurement.path)) for measurement in measurements]
        return line_chart(title, series, x_name="version", low=low, high=high)

    charts = (
        draw("Forgotten, % misclassified", FORGET_ACCURACY, ROBUST_FORGET_ACCURACY, low=0, high=100),
        draw("Kept, % right", TEST_ACCURACY, RETAIN_ACCURACY),
        draw(COLLAPSE.heading, COLLAPSE, low=0),
    )
    return [chart for chart in charts if chart is not None]


def _loss_chart(name: str, points: list[Point]) -> Chart | None:
    shown = name.replace("_", " ")
    return line_chart(f"Loss: {shown}", [Series(shown, points)], x_name="step", low=0)


def _points(values: Sequence[tuple[float, Mapping[str, Any]]], name: str) -> list[Point]:
    return [(x, float(y)) for x, metrics in values if isinstance(y := metrics.get(name), int | float)]
