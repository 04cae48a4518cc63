"""The page: safe against what it shows, complete, self-contained, and the same each time."""

import dataclasses
import re
from html.parser import HTMLParser

from tasks.report.data import ReportData
from tasks.report.render import count_words, printable, render, sentence, tiles, with_error
from tests.tasks.report.example_report import LONG, NASTY, RTL, example_report


class _Page(HTMLParser):
    """Collects tags, attributes and text as a browser would."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_web_text_is_shown_and_never_becomes_markup():
    page = _Page(render(example_report()))
    assert NASTY in "".join(page.text)
    assert not {"script", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.unbalanced == [] and page.open == []


def test_the_page_loads_nothing():
    html = render(example_report())
    page = _Page(html)
    targets = [
        value or "" for name, value in page.attributes if name in ("src", "href", "action", "data", "xlink:href")
    ]
    assert targets
    assert all(target.startswith("#") or target == "data:," for target in targets)
    assert "@import" not in html and "url(" not in html
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in (value or ""))
    assert "default-src 'none'" in policy and "script" not in policy


def test_right_to_left_text_and_control_characters_are_contained():
    html = render(example_report())
    assert 'dir="auto">' + RTL in html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", html)
    html.encode("utf-8")  # a lone surrogate of the web text would fail here
    assert LONG in html
    assert printable("a\x00b\nc\ud800") == "a\ufffdb\nc\ufffd"


def test_inner_links_lead_somewhere():
    page = _Page(render(example_report()))
    ids = {value for name, value in page.attributes if name == "id"}
    assert {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")} <= ids


def test_the_page_is_the_same_each_time():
    assert render(example_report()) == render(example_report())


def test_the_sentence_claims_only_what_the_intervals_allow():
    report = example_report()
    text = sentence(report)
    assert "better than the unigram, bigram and Witten–Bell trigram" in text
    assert "Answers are better after SFT: ROUGE-L +0.171 over base." in text
    assert "Answers are as good after DPO as after SFT" in text
    worse = [dataclasses.replace(change, value=-0.2, low=-0.3, high=-0.1) for change in report.changes[:1]]
    assert "Answers are worse after SFT" in sentence(dataclasses.replace(report, changes=tuple(worse)))
    beaten = [dataclasses.replace(row, bits_per_byte=1.0) if row.is_baseline else row for row in report.prediction]
    assert "not better than the unigram" in sentence(dataclasses.replace(report, prediction=tuple(beaten)))


def test_the_best_answers_stand_beside_the_first_models_by_its_name():
    report = example_report()
    assert [note for name, _, note in tiles(report) if name.startswith("ROUGE-L")] == ["base 0.112"]
    tuned = tuple(row for row in report.quality if row.name != "base")
    notes = [note for name, _, note in tiles(dataclasses.replace(report, quality=tuned)) if name.startswith("ROUGE-L")]
    assert notes and not notes[0].startswith("base")
    alone = dataclasses.replace(report, quality=tuned[:1])
    assert [note for name, _, note in tiles(alone) if name.startswith("ROUGE-L")] == [""]


def test_a_funnel_that_leaks_is_not_called_sound():
    report = example_report()
    assert "adds up</span>" in render(report) and "does not add up" not in render(report)
    leaking = dataclasses.replace(report.funnel[0], used=1)
    assert "does not add up" in render(dataclasses.replace(report, funnel=(leaking,)))
    assert "does not add up" in render(dataclasses.replace(report, gaps=("a took in 1, but b gave out 2",)))


def test_a_report_with_nothing_but_a_name_still_renders():
    html = render(ReportData(evaluation="evaluate/0", data_from=None, data_until=None, funnel=()))
    assert "evaluate/0" in html and "Samples" not in html
    assert tiles(ReportData(evaluation="evaluate/0", data_from=None, data_until=None, funnel=())) == []


def test_figures_are_written_for_people():
    assert [count_words(n) for n in (812, 13_100, 2_412_288, 70_000_000_000)] == ["812", "13.1 k", "2.4 M", "70.0 G"]
    assert with_error((0.3124, 0.0141)) == "0.312 ± 0.014"
    assert with_error((0.715, 0.032), percent=True) == "71.5 ± 3.2 %"
