"""The histogram as SVG, read back as XML."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from tasks.curation_report.data import Histogram, Threshold
from tasks.curation_report.drawing import HEIGHT, LEFT, RIGHT, TOP, WIDTH, histogram_chart
from tasks.curation_report.histogram import Axis

LOW = Threshold("min", "<", 2.0, 5, "a paper")
PLAIN = Histogram("n", Axis(0.0, 8.0, 4), (0, 6, 2, 1), (5, 0, 0, 0), (1, 1, 1, 1), 3, (LOW,))


def drawn(histogram: Histogram) -> ET.Element:
    return ET.fromstring(str(histogram_chart(histogram)))


def rects(svg: ET.Element, css: str) -> list[dict[str, str]]:
    return [e.attrib for e in svg.iter("rect") if e.attrib["class"] == css]


def test_bars_are_stacked_in_proportion():
    svg = drawn(PLAIN)
    heights = {r["x"]: float(r["height"]) for r in rects(svg, "bar-passed")}
    assert [round(h / heights["89.3"], 3) for h in heights.values()] == [1, 0.333, 0.167]
    assert len(rects(svg, "bar-here")) == 1 and len(rects(svg, "bar-elsewhere")) == 4
    assert all(float(e.attrib["y"]) >= TOP - 0.01 for e in svg.iter("rect"))


def test_the_rejected_side_is_shaded_up_to_the_threshold():
    (shade,) = rects(drawn(PLAIN), "shade")
    quarter = (WIDTH - LEFT - RIGHT) / 4
    assert float(shade["x"]) == LEFT and float(shade["width"]) == quarter
    above = replace(PLAIN, thresholds=(Threshold("max", ">", 6.0, 0),))
    (shade,) = rects(drawn(above), "shade")
    assert float(shade["x"]) == LEFT + 3 * quarter and float(shade["width"]) == quarter


def test_of_whole_numbers_more_than_zero_begins_behind_the_zeros():
    counts = Histogram("n", Axis(0, 4, 4, whole=True), (9, 0, 0, 0), (0, 1, 1, 1), (0,) * 4, 0)
    svg = drawn(replace(counts, thresholds=(Threshold("any", ">", 0.0, 3),)))
    (shade,) = rects(svg, "shade")
    assert float(shade["x"]) == LEFT + (WIDTH - LEFT - RIGHT) / 4


def test_one_tower_is_cut_keeps_its_proportions_and_says_how_high_it_is():
    svg = drawn(Histogram("n", Axis(0, 1, 3), (500, 10, 10), (0, 0, 0), (500, 0, 0), 0))
    assert [t.text for t in svg.iter("text") if "tall" in t.attrib["class"]] == ["1,000"]
    first = [float(r["height"]) for css in ("bar-passed", "bar-elsewhere") for r in rects(svg, css)][0::3]
    assert first[0] == first[1] and abs(sum(first) - (HEIGHT - TOP - 22)) < 0.1


def test_a_threshold_beyond_the_axis_is_marked_with_an_arrow():
    svg = drawn(replace(PLAIN, thresholds=(Threshold("max", ">", 50.0, 0),)))
    assert [t.text for t in svg.iter("text") if "mark" in t.attrib["class"]] == ["> 50 →"]


def test_the_description_says_what_the_eye_sees():
    assert "min rejects < 2 (5 documents)" in drawn(PLAIN).attrib["aria-label"]
    assert "over 18 documents" in drawn(PLAIN).attrib["aria-label"]
