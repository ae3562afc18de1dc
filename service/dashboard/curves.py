"""The charts of a run, and of a model's versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.registry.tables import StepMetric
from service.web.charts import Chart, Point, Series, line_chart

_ACCURACIES = {"forget_accuracy": "A_f", "view_accuracy": "A_f of views"}
_KNOWN = {*_ACCURACIES, "collapse"}

_FORGOTTEN = {"forget_accuracy": "A_f", "robust_forget_accuracy": "robust A_f"}
_KEPT = {"test_accuracy": "A_test", "retain_accuracy": "A_r"}


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


def of_versions(metrics: Mapping[int, Mapping[str, Any]]) -> list[Chart]:
    """What was forgotten, what was kept, and collapse, over the numbers of a model's versions."""
    values = [(float(number), of_it) for number, of_it in sorted(metrics.items())]

    def drawn(title: str, names: Mapping[str, str], low: float | None, high: float | None) -> Chart | None:
        series = [Series(shown, _points(values, name)) for name, shown in names.items()]
        return line_chart(title, series, x_name="version", low=low, high=high)

    wanted = (
        drawn("Forgotten, % misclassified", _FORGOTTEN, 0, 100),
        drawn("Kept, % right", _KEPT, None, None),
        drawn("Structural collapse", {"collapse": "collapse"}, 0, None),
    )
    return [chart for chart in wanted if chart is not None]


def _of_term(name: str, points: list[Point]) -> Chart | None:
    shown = name.replace("_", " ")
    return line_chart(f"Loss: {shown}", [Series(shown, points)], x_name="step", low=0)


def _points(values: Sequence[tuple[float, Mapping[str, Any]]], name: str) -> list[Point]:
    return [(at, float(found)) for at, of_it in values if isinstance(found := of_it.get(name), int | float)]
