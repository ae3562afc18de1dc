"""Four plots of each subject of the main table: accuracy, collapse, robustness and time."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from benchmarks.columns import COLUMNS
from benchmarks.results import Row, for_all_seeds
from benchmarks.tables import TABLES

# Okabe and Ito's palette, which colour-blind people can tell apart, and an indigo of Tol's; black is for StructGuard.
STYLES = {
    "structguard": ("#000000", "o"),
    "structguard/views": ("#0072B2", "s"),
    "structguard/indistinguishable": ("#332288", "*"),
    "structguard/paper": ("#56B4E9", "D"),
    "l2ul": ("#D55E00", "^"),
    "adv": ("#E69F00", "v"),
    "neggrad": ("#CC79A7", "<"),
    "rawp": ("#F0E442", ">"),
    "fisher": ("#999999", "P"),
    "oracle": ("#009E73", "X"),
}

Subject = tuple[str, str, str]  # data set, model, device
Cells = dict[str, dict[int, list[Row]]]  # by method and k


def draw(measured: list[Row], folder: Path) -> dict[str, Path]:
    """Draw the results into PNG files; their paths by title. A subject with one method only is left out."""
    subjects: list[Subject] = sorted({(row["dataset"], row["model"], row["device"]) for row in measured})
    paths = dict[str, Path]()
    folder.mkdir(exist_ok=True)
    for subject in subjects:
        cells = _cells(measured, subject)
        if len(cells) < 2:
            continue
        for name, picture in _pictures(cells).items():
            title = f"{name} ({', '.join(subject)})"
            path = folder / f"{name.partition(',')[0].lower().replace(' ', '-')}-{'-'.join(subject)}.png"
            _save(path, title, picture)
            paths[title] = path
    return paths


def _pictures(cells: Cells) -> dict[str, Callable[[Axes], None]]:
    methods_at = Counter(k for by_k in cells.values() for k in by_k)
    k = max(methods_at, key=lambda k: (methods_at[k], k))
    pictures: dict[str, Callable[[Axes], None]] = {
        f"Collapse over the updates, k = {k}": partial(_collapse, cells=cells, k=k),
        f"Robustness against utility, k = {k}": partial(_frontier, cells=cells, k=k),
    }
    if len(methods_at) > 1:
        pictures["Accuracy against k"] = partial(_drop, cells=cells)
        pictures["Time against k"] = partial(_time, cells=cells)
    return pictures


def _cells(measured: list[Row], subject: Subject) -> Cells:
    dataset, model, device = subject
    ks = sorted({row["k"] for row in measured})
    cells: Cells = {}
    for method in STYLES:
        variant = TABLES["table2"].variants[method]
        by_k = {
            k: rows
            for k in ks
            if (rows := for_all_seeds(measured, variant.run(dataset=dataset, model=model, k=k, seed=0, device=device)))
        }
        if by_k:
            cells[method] = by_k
    return cells


def _drop(axes: Axes, *, cells: Cells) -> None:
    axes.set_yscale("symlog", linthresh=1)  # before there are values, or the limits are those of a linear axis
    _against_k(axes, cells, "drop")
    _points(axes.yaxis)
    axes.set_ylabel("points of A_test lost")


def _time(axes: Axes, *, cells: Cells) -> None:
    on_cpu = all(row["device"] == "cpu" for by_k in cells.values() for rows in by_k.values() for row in rows)
    column = "CPU seconds" if on_cpu else "seconds"  # on the wall it also counts who else used the cores
    _against_k(axes, cells, column)
    axes.set_yscale("log", base=2)
    axes.set_ylabel(column)


def _points(axis: Axis) -> None:
    """Ticks for points of accuracy, most of which lie near zero."""
    low, high = axis.get_view_interval()
    axis.set_ticks([tick for tick in (0, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high])


def _against_k(axes: Axes, cells: Cells, column: str) -> None:
    for method, by_k in cells.items():
        values = [_values(rows, column) for rows in by_k.values()]
        _errorbar(axes, method, x=list(by_k), y=[mean(v) for v in values], dy=[_spread(v) for v in values])
    ks = sorted({k for by_k in cells.values() for k in by_k})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks)
    axes.set_xlabel("images to forget, k")


def _collapse(axes: Axes, *, cells: Cells, k: int) -> None:
    for method, by_k in cells.items():
        colour, marker = STYLES[method]
        for row in by_k.get(k, [])[:1]:  # one seed: others end after other numbers of updates
            updates, collapse = zip(*row["curve"], strict=True)
            axes.plot(updates, collapse, color=colour, marker=marker, markersize=3, label=method)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("updates")
    axes.set_ylabel("structural collapse")


def _frontier(axes: Axes, *, cells: Cells, k: int) -> None:
    axes.set_xscale("symlog", linthresh=1)
    for method, by_k in cells.items():
        if rows := by_k.get(k):
            x, y = _values(rows, "drop"), _values(rows, "robust A_f")
            _errorbar(axes, method, x=[mean(x)], y=[mean(y)], dx=[_spread(x)], dy=[_spread(y)])
    _points(axes.xaxis)
    axes.set_xlabel("points of A_test lost (left is better)")
    axes.set_ylabel("robust A_f, % (up is better)")


def _errorbar(
    axes: Axes, method: str, *, x: Sequence[float], y: Sequence[float], dy: list[float], dx: list[float] | None = None
) -> None:
    colour, marker = STYLES[method]
    axes.errorbar(x, y, dy, dx, color=colour, marker=marker, capsize=2, label=method)


def _values(rows: list[Row], column: str) -> list[float]:
    return [value for row in rows if (value := COLUMNS[column].value(row)) is not None]


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _save(path: Path, title: str, picture: Callable[[Axes], None]) -> None:
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.3}):
        figure = Figure(figsize=(6.4, 3.8), dpi=90, layout="constrained")
        axes = figure.subplots()
        picture(axes)
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() != "linear":
                axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path, pil_kwargs={"optimize": True})
