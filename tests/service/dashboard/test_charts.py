"""Geometry: what is drawn lies where it should."""

import pytest

from service.dashboard.lineage import LANE, STEP, tree
from service.web.charts import HEIGHT, WIDTH, Series, brief, line_chart, thinned, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 50, 100]),
        (0, 1, [0, 0.5, 1]),
        (3, 17, [0, 5, 10, 15, 20]),
        (-0.2, 0.1, [-0.2, -0.1, 0, 0.1]),
        (0, 0, [0, 0.5, 1]),
        (7, 7, [6.4, 6.6, 6.8, 7, 7.2, 7.4, 7.6]),
    ],
)
def test_marks_are_round_and_around_all(low, high, expected):
    marks = ticks(low, high)
    assert marks[0] <= low <= high <= marks[-1]
    if low != high or not low:
        assert marks == pytest.approx(expected)


def test_a_chart_has_its_extremes_at_its_edges():
    chart = line_chart("A_f", [Series("A_f", [(0, 0), (5, 50), (10, 100)])], x_name="step", low=0, high=100)
    first, middle, last = chart.lines[0].dots
    assert first.x < middle.x < last.x
    assert first.y > middle.y > last.y
    assert middle.y == pytest.approx((first.y + last.y) / 2)
    assert all(0 < dot.x < WIDTH and 0 < dot.y < HEIGHT for dot in chart.lines[0].dots)
    assert chart.lines[0].path == f"M{first.x:g} {first.y:g}L{middle.x:g} {middle.y:g}L{last.x:g} {last.y:g}"
    assert chart.lines[0].last == "100"
    assert "from 0 to 100 over 3 points" in chart.summary


def test_a_single_point_and_a_flat_line_are_drawn_too():
    assert line_chart("x", [Series("x", [(3, 0.25)])], x_name="step").lines[0].dots
    assert line_chart("x", [Series("x", [(0, 1), (1, 1)])], x_name="step").lines[0].path


def test_nothing_is_no_chart():
    assert line_chart("x", [Series("x", [])], x_name="step") is None


def test_thinning_keeps_peaks_and_ends():
    points = [(float(n), 0.0) for n in range(5000)]
    points[1234] = (1234.0, 9.0)
    points[4321] = (4321.0, -9.0)
    kept = thinned(points)
    assert len(kept) < 200
    assert {points[0], points[1234], points[4321], points[-1]} <= set(kept)
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (100.0, "100"), (0.5, "0.5"), (0.0005, "0.0005"), (1234.0, "1,234"), (2e-6, "2e−6"), (-3.0, "−3")],
)
def test_labels_are_short(value, told):
    assert brief(value) == told


def test_a_version_that_needs_review_leaves_the_line_and_the_next_goes_on():
    """1 – 2 – 4 – 5 in a line, 3 beside it; 6 has no parent."""
    rows = [
        *((1, None, None), (2, 1, "passed"), (3, 2, "needs_review")),
        *((4, 2, "passed"), (5, 4, "passed"), (6, None, None)),
    ]
    drawn = tree(rows, {5: ["production"]})
    lanes = {node.number: (node.y - drawn.nodes[0].y) // LANE for node in drawn.nodes}
    assert lanes == {1: 0, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0}
    assert [node.x - drawn.nodes[0].x for node in drawn.nodes] == [n * STEP for n in range(6)]
    assert len(drawn.paths) == 4
    assert drawn.nodes[4].aliases == ["production"]


def test_an_empty_tree_and_unknown_parents_are_drawn():
    assert tree([], {}).nodes == []
    assert tree([(7, 3, "passed")], {}).paths == []
