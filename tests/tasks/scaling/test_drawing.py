"""The plane as SVG, read back as XML."""

import xml.etree.ElementTree as ET

import pytest

from tasks.scaling.drawing import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Band,
    Curve,
    Dots,
    Plane,
    draw,
    log_ticks,
    power_of_ten,
)


def drawn(*layers, x: Axis | None = None, y: Axis | None = None) -> ET.Element:
    return ET.fromstring(str(draw(Plane("T", x or Axis("x"), y or Axis("y"), layers))))


def centres(svg: ET.Element, css: str = "dot s1") -> list[tuple[float, float]]:
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in svg.iter("circle") if c.attrib["class"] == css]


def test_equal_factors_are_equal_steps_on_a_logarithmic_axis():
    (a, b, c) = centres(
        drawn(Dots([1e12, 1e13, 1e14], [1.0, 10.0, 100.0], 1), x=Axis("x", log=True), y=Axis("y", log=True))
    )
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.11) and b[1] - a[1] == pytest.approx(c[1] - b[1], abs=0.11)
    assert a[0] < b[0] and a[1] > b[1]  # SVG counts y downwards


def test_everything_lies_inside_the_frame():
    svg = drawn(
        Band([1.0, 2.0], [0.0, 1.0], [3.0, 9.0], 2),
        Curve([1.0, 2.0], [1.0, 5.0], 2),
        Dots([1.5], [4.0], 1, bars=[(-2.0, 8.0)]),
    )
    for element in [*svg.iter("polyline"), *svg.iter("polygon")]:
        for point in element.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT
    (bar,) = [line for line in svg.iter("line") if line.attrib["class"].startswith("interval")]
    assert TOP <= float(bar.attrib["y2"]) < float(bar.attrib["y1"]) <= HEIGHT


def test_an_axis_has_a_few_round_ticks_whatever_its_span():
    for low, high in ((1e12, 4e12), (2.1e5, 2.9e5), (1e3, 1e9), (0.004, 0.05), (1.0, 1.2)):
        ticks = log_ticks(low, high)
        assert all(low <= tick <= high for tick in ticks) and len(ticks) <= 7
        assert len(ticks) >= 2 or high / low < 1.5
    assert log_ticks(1e12, 1e15) == [1e12, 1e13, 1e14, 1e15]


def test_flops_are_written_as_people_write_them():
    assert [power_of_ten(x) for x in (2e12, 1.6e13, 0.9999e11, 1e21, 999.0)] == [
        "2e12",
        "1.6e13",
        "1e11",
        "1e21",
        "999",
    ]


def test_a_single_point_and_none_at_all():
    assert centres(drawn(Dots([5.0], [2.0], 1), x=Axis("x", log=True)))
    assert "Nothing to draw of “T”" in str(draw(Plane("T", Axis("x"), Axis("y"))))


def test_hostile_names_stay_text():
    name = "<script>alert('x')</script>\"&"
    svg = str(draw(Plane(name, Axis(name), Axis(name), [Dots([1.0], [2.0], 1, [name])], says=name)))
    assert "<script" not in svg
    ET.fromstring(svg)
