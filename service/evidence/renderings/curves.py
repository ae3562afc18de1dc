"""The curves of a run as an SVG that needs no script, no font and no other file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from service.registry.measurements.definitions import CURVES, Measurement
from service.web.charts import Chart, Series, line_chart

_WIDTH, _HEIGHT, _TITLE = 720, 220, 30  # of a panel, and of the title in it

_STYLE = """
.title { font-size: 13px; font-weight: bold; }
.y, .over { text-anchor: end; } .x { text-anchor: middle; }
.grid { stroke: #bbb; } .axis { stroke: #666; }
.line { fill: none; stroke: #005a9c; stroke-width: 2; } circle { fill: #005a9c; }
"""

Points = Sequence[tuple[int, Mapping[str, Any]]]


def curves(points: Points) -> str:
    """An SVG of all curves over the steps; the same text for the same points."""
    charts = [_chart(points, measurement) for measurement in CURVES]
    panels = [_panel(chart, index * _HEIGHT) for index, chart in enumerate(chart for chart in charts if chart)]
    height = max(1, len(panels)) * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="11.5">\n'
        f"<title>What was measured while the model was changed</title>\n<style>{_STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        + ("".join(panels) or f'<text x="48" y="{_TITLE}">The run left no curves.</text>\n')
        + "</svg>\n"
    )


def _chart(points: Points, measurement: Measurement) -> Chart | None:
    title = f"{measurement.heading}: {measurement.phrase}"
    series = [Series(title, _series(points, measurement.path))]
    return line_chart(title, series, x_name="step", width=_WIDTH, height=_HEIGHT - _TITLE)


def _series(points: Points, name: str) -> list[tuple[float, float]]:
    return [(step, float(values[name])) for step, values in points if values.get(name) is not None]


def _panel(chart: Chart, top: int) -> str:
    return (
        f'<g transform="translate(0 {top})">\n<text class="title" x="48" y="24">{escape(chart.title)}</text>\n'
        f'<text class="over" x="{_WIDTH - 14}" y="24">over {chart.x_name}s</text>\n'
        f'<g transform="translate(0 {_TITLE})">\n{chart.marks}\n</g>\n</g>\n'
    )
