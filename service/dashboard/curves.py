"""The charts of a run, and of a model's versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.dashboard.charts import Chart, Point, Series, line_chart
from service.registry.tables import StepMetric, Version

_ACCURACIES = {"forget_accuracy": "A_f", "view_accuracy": "A_f of views"}
_KNOWN = {*_ACCURACIES, "collapse"}

_OF_VERSIONS = {"forget_accuracy": "A_f", "robust_forget_accuracy": "robust A_f", "test_accuracy": "A_test"}


def of_run(points: Sequence[StepMetric]) -> list[Chart]:
    """A_f, structural collapse, and each term of the loss on a scale of its own, over the steps of an attempt."""
    values = [(float(point.step), point.values) for point in points]
    terms = [name for name in dict.fromkeys(name for _, of_step in values for name in of_step) if name not in _KNOWN]
    wanted = [
        line_chart(
            "A_f, % misclassified",
            [Series(shown, _points(values, name)) for name, shown in _ACCURACIES.items()],
            x_name="step",
            low=0,
            high=100,
        ),
        line_chart("Structural collapse", [Series("collapse", _points(values, "collapse"))], x_name="step", low=0),
        *(_of_term(name, _points(values, name)) for name in terms),
    ]
    return [chart for chart in wanted if chart is not None]


def of_versions(versions: Sequence[Version]) -> list[Chart]:
    """Accuracies and collapse over the numbers of a model's versions."""
    values = sorted((float(version.number), version.metrics) for version in versions)
    wanted = [
        line_chart(
            "Accuracies, %",
            [Series(shown, _points(values, name)) for name, shown in _OF_VERSIONS.items()],
            x_name="version",
            low=0,
            high=100,
        ),
        line_chart("Structural collapse", [Series("collapse", _points(values, "collapse"))], x_name="version", low=0),
    ]
    return [chart for chart in wanted if chart is not None]


def _of_term(name: str, points: list[Point]) -> Chart | None:
    shown = name.replace("_", " ")
    return line_chart(f"Loss: {shown}", [Series(shown, points)], x_name="step", low=0)


def _points(values: Sequence[tuple[float, Mapping[str, Any]]], name: str) -> list[Point]:
    return [(at, float(found)) for at, of_it in values if isinstance(found := of_it.get(name), int | float)]
