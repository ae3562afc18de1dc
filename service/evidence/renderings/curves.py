"""The curves of a run as an SVG that needs no script, no font and no other file."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 220, 60, 40
_INNER = (_WIDTH - _LEFT - 20, _HEIGHT - _TOP - 40)  # pixels that a panel's curve has

#: What is drawn, each in a panel of its own.
_PANELS = (
    ("forget_accuracy", "A_f: percent of the images to forget that are misclassified"),
    ("view_accuracy", "The same of their views, where these are aimed at"),
    ("collapse", "Structural collapse, 0 = intact"),
)

Points = Sequence[tuple[int, Mapping[str, Any]]]


def curves(points: Points) -> str:
    """The curves over the steps; the same text for the same points."""
    panels = [(title, _series(points, name)) for name, title in _PANELS]
    drawn = [_panel(title, series, at * _HEIGHT) for at, (title, series) in enumerate(p for p in panels if p[1])]
    height = max(1, len(drawn)) * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13">\n'
        f"<title>What was measured while the model was changed</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        + ("".join(drawn) or f'<text x="{_LEFT}" y="{_TOP}">The run left no curves.</text>\n')
        + "</svg>\n"
    )


def _series(points: Points, name: str) -> list[tuple[int, float]]:
    return [(step, float(values[name])) for step, values in points if values.get(name) is not None]


def _panel(title: str, series: list[tuple[int, float]], top: int) -> str:
    (first, last), (low, high) = _range(step for step, _ in series), _range(value for _, value in series)
    width, height = _INNER
    bottom = _TOP + height

    def x(step: float) -> str:
        return f"{_LEFT + width * (step - first) / (last - first):.1f}"

    def y(value: float) -> str:
        return f"{bottom - height * (value - low) / (high - low):.1f}"

    path = " ".join(f"{x(step)},{y(value)}" for step, value in series)
    ticks = "".join(
        f'<text x="{_LEFT - 6}" y="{y(value)}" text-anchor="end" dominant-baseline="middle">{value:.4g}</text>'
        f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{y(value)}" y2="{y(value)}" stroke="#bbb"/>\n'
        for value in (low, (low + high) / 2, high)
    )
    steps = "".join(
        f'<text x="{x(step)}" y="{bottom + 18}" text-anchor="middle">{step:.0f}</text>\n' for step in (first, last)
    )
    return (
        f'<g transform="translate(0 {top})">\n<text x="{_LEFT}" y="24" font-weight="bold">{escape(title)}</text>\n'
        f'{ticks}{steps}<text x="{_LEFT + width / 2:.0f}" y="{bottom + 18}" text-anchor="middle">step</text>\n'
        f'<polyline points="{path}" fill="none" stroke="#005a9c" stroke-width="2"/>\n</g>\n'
    )


def _range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest, a little apart where they are the same."""
    every = list(values)
    low, high = min(every), max(every)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
