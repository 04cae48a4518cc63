"""Charts: geometry that can be checked, text that cannot break out."""

import math
import xml.etree.ElementTree as ET

import pytest

from tasks.report.charts import (
    MAX_POINTS,
    Interval,
    Series,
    interval_chart,
    line_chart,
    nice_ticks,
    short_number,
    thin,
)


def test_ticks_are_round_and_inside():
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(2.93, 8.31) == [4, 6, 8]
    assert nice_ticks(-0.03, 0.21) == [0, 0.05, 0.1, 0.15, 0.2]
    assert nice_ticks(5, 5) == [5]


def test_thinning_keeps_the_mean_and_drops_what_is_not_finite():
    ys = tuple(float(k % 7) for k in range(10_000))
    series = thin(Series("loss", tuple(map(float, range(10_000))), ys))
    assert len(series.xs) == MAX_POINTS
    assert sum(series.ys) / MAX_POINTS == pytest.approx(sum(ys) / len(ys), abs=0.01)
    assert list(series.xs) == sorted(series.xs)
    broken = thin(Series("loss", (1.0, 2.0, 3.0), (math.nan, 5.0, math.inf)))
    assert (broken.xs, broken.ys) == ((2.0,), (5.0,))


def test_series_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 x and 1 y"):
        Series("loss", (1.0, 2.0), (1.0,))


def test_line_chart_draws_down_when_the_loss_falls():
    svg = line_chart("Training", [Series("train", (0.0, 100.0), (8.0, 2.0))], "step", "loss")
    root = ET.fromstring(str(svg))
    (line,) = [element for element in root.iter() if element.tag == "polyline"]
    (x0, y0), (x1, y1) = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert x0 < x1
    assert y0 < y1  # SVG counts y downwards


def test_hostile_names_stay_text():
    name = "<script>alert('x')</script>\"&"
    svg = str(line_chart(name, [Series(name, (1.0,), (2.0,))], name, name))
    svg += str(interval_chart(name, [Interval(name, 0.1, 0.0, 0.2)], name))
    assert "<script" not in svg
    for one in svg.replace("</svg>", "</svg>\n").split("\n"):
        if one:
            ET.fromstring(one)


def test_a_chart_without_points_says_so():
    assert "No points" in line_chart("Training", [Series("train", (), ())], "step", "loss")
    assert "No differences" in interval_chart("Change", [], "difference")


def test_interval_chart_always_shows_zero():
    root = ET.fromstring(str(interval_chart("Change", [Interval("a", 0.5, 0.4, 0.6)], "difference")))
    texts = [element.text for element in root.iter() if element.tag == "text"]
    assert "0" in texts
    assert "+0.500  [+0.400, +0.600]" in texts


def test_axis_numbers_are_short():
    assert [short_number(v) for v in (0, 0.25, 1500, 2_000_000, -3e9)] == ["0", "0.25", "1.5k", "2M", "-3G"]
