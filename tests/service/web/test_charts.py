"""Geometry: what is drawn lies where it should."""

from xml.etree import ElementTree

import pytest

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


def test_the_drawing_is_well_formed_whatever_a_series_is_called():
    name = "<script>&\"'"
    chart = line_chart("x", [Series(name, [(0, 1), (9, 2)]), Series("b", [(0, 2)])], x_name="step", width=720)
    drawing = ElementTree.fromstring(f"<svg>{chart.marks}</svg>")
    assert [circle.attrib["r"] for circle in drawing.findall("g[@class='line-1']/circle")] == ["2.5", "3.5"]
    assert drawing.find(".//circle/title").text == f"{name} 1, step 0"
    assert len(drawing.findall(".//path[@class='line']")) == 2
    assert drawing.find("path[@class='axis']").attrib["d"] == "M48 162H706"
