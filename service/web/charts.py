"""Line charts as SVG, in the units of a view box. How they look is a matter of the style sheet around them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 12, 28  # room for the labels of the axes
_MAX_POINTS = 160  # of a line: more cannot be told apart
_MAX_DOTS = 40

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """The name and the points of a line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A point of a line, with its values in words."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series as an SVG path."""

    name: str
    path: str
    dots: Sequence[Dot]
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart, laid out in the units of its view box."""

    title: str
    lines: Sequence[Line]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_name: str
    summary: str  #: text alternative, for screen readers
    width: int
    height: int

    @property
    def marks(self) -> str:
        """The SVG elements of grid, axes and lines; all text in them is escaped."""
        left, right, bottom = _LEFT, self.width - _RIGHT, self.height - _BOTTOM
        grid = (
            f'<path class="grid" d="M{left} {tick.at}H{right}"/>'
            f'<text class="y" x="{left - 6}" y="{tick.at + 4}">{tick.label}</text>'
            for tick in self.y_ticks
        )
        axis = f'<path class="axis" d="M{left} {bottom}H{right}"/>'
        below = (f'<text class="x" x="{tick.at}" y="{bottom + 17}">{tick.label}</text>' for tick in self.x_ticks)
        lines = (
            f'<g class="line-{number}"><path class="line" d="{line.path}"/>{_circles(line.dots)}</g>'
            for number, line in enumerate(self.lines, 1)
        )
        return "\n".join((*grid, axis, *below, *lines))


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str,
    low: float | None = None,
    high: float | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Chart | None:
    """A chart of these series; None without a point. The y axis includes `low` and `high`, if they are given."""
    shown = [Series(one.name, thinned(one.points)) for one in series if one.points]
    if not shown:
        return None
    xs = [x for one in shown for x, _ in one.points]
    ys = [y for one in shown for _, y in one.points]
    y_marks = ticks(min(ys) if low is None else min(low, *ys), max(ys) if high is None else max(high, *ys))
    x_scale = _Scale(min(xs), max(xs), _LEFT + 4, width - _RIGHT - 4)
    y_scale = _Scale(y_marks[0], y_marks[-1], height - _BOTTOM, _TOP)
    lines = [_line(one, x_name, x_scale, y_scale) for one in shown]
    summary = ". ".join(
        f"{one.name}: from {brief(one.points[0][1])} to {brief(one.points[-1][1])} over {len(one.points)} points"
        for one in shown
    )
    return Chart(
        title=title,
        lines=lines,
        x_ticks=[Tick(x_scale(x), brief(x)) for x in _ends(min(xs), max(xs))],
        y_ticks=[Tick(y_scale(y), brief(y)) for y in y_marks],
        x_name=x_name,
        summary=f"{summary}.",
        width=width,
        height=height,
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers that cover `low` to `high`, at steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        low, high = (low - 0.5, high + 0.5) if low else (0.0, 1.0)
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def thinned(points: Sequence[Point], limit: int = _MAX_POINTS) -> list[Point]:
    """At most `limit` points, or a few more: the lowest and the highest of each stretch, so that no peak is lost."""
    if len(points) <= limit:
        return list(points)
    length = math.ceil(2 * len(points) / (limit - 2))
    indices = {0, len(points) - 1}
    for start in range(0, len(points), length):
        stretch = range(start, min(start + length, len(points)))
        indices |= {min(stretch, key=lambda at: points[at][1]), max(stretch, key=lambda at: points[at][1])}
    return [points[at] for at in sorted(indices)]


def brief(value: float) -> str:
    """A number as short as a label should be."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _line(series: Series, x_name: str, x_scale: _Scale, y_scale: _Scale) -> Line:
    positions = [(x_scale(x), y_scale(y)) for x, y in series.points]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in positions)
    dots = [
        Dot(x, y, f"{series.name} {brief(value)}, {x_name} {brief(at)}")
        for (x, y), (at, value) in zip(positions, series.points, strict=True)
    ]
    last = brief(series.points[-1][1])
    return Line(series.name, path, dots if len(dots) <= _MAX_DOTS else dots[-1:], last)


def _circles(dots: Sequence[Dot]) -> str:
    """The last one is larger; a pointer that rests on one is shown its values."""
    return "".join(
        f'<circle cx="{dot.x}" cy="{dot.y}" r="{3.5 if dot is dots[-1] else 2.5}">'
        f"<title>{escape(dot.label)}</title></circle>"
        for dot in dots
    )


def _ends(low: float, high: float) -> list[float]:
    if low == high:
        return [low]
    integers = (at for at in ticks(low, high)[1:-1] if at == int(at))  # steps and versions are numbered
    return [low, *(at for at in integers if 0.12 < (at - low) / (high - low) < 0.88), high]
