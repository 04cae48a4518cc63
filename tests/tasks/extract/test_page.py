"""Pages: main text and what the page says about its use, from one tree."""

import pytest

from tasks.extract.page import (
    ExtractionOptions,
    Signals,
    TooComplexError,
    extract_page,
    header_signals,
    well_formed,
)
from tests.miniature import ENGLISH, NAVIGATION, html_page

OPTIONS = ExtractionOptions()
DAY = "2024-05-18"


def test_the_main_text_comes_without_navigation_and_footer() -> None:
    title, introduction, sections = ENGLISH["bread"]
    page = extract_page(html_page(ENGLISH["bread"]), DAY, OPTIONS)
    lines = page.text.split("\n")
    assert lines == [title, introduction, *(line for section in sections for line in section)]
    assert "All articles" in NAVIGATION and "All articles" not in page.text
    assert (page.title, page.language) == (f"{title} | The Example Almanac", "en")


def test_markdown_keeps_the_headings() -> None:
    text = extract_page(html_page(ENGLISH["bread"]), DAY, ExtractionOptions(markdown=True)).text
    assert "## Feeding the starter" in text.split("\n")


def test_text_does_not_depend_on_the_pages_before() -> None:
    first = [extract_page(html_page(ENGLISH["tides"]), DAY, OPTIONS) for _ in range(8)]
    assert len(set(first)) == 1 and first[0].text


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ('<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">', "https://creativecommons.org/licenses/by/4.0/"),
        ('<meta name="dcterms.license" content="https://example.org/l">', "https://example.org/l"),
        ('<meta name="dcterms.license" content="all rights reserved">', ""),
        ('<link rel="stylesheet" href="license.css">', ""),
    ],
)  # fmt: skip
def test_licence_in_the_head(head: str, licence: str) -> None:
    assert extract_page(html_page(ENGLISH["tea"], head=head), DAY, OPTIONS).licence_url == licence


def test_a_licence_link_counts_in_the_footer_but_not_in_running_text() -> None:
    link = '<a href="http://creativecommons.org/licenses/by-sa/3.0/">CC</a>'
    page = html_page(ENGLISH["tea"])
    assert extract_page(page.replace("<footer>", "<footer>" + link), DAY, OPTIONS).licence_url.endswith("by-sa/3.0/")
    assert extract_page(page.replace("<h1>", link + "<h1>"), DAY, OPTIONS).licence_url == ""
    labelled = link.replace("<a ", '<a rel="nofollow license" ')
    assert extract_page(page.replace("<h1>", labelled + "<h1>"), DAY, OPTIONS).licence_url.endswith("by-sa/3.0/")


@pytest.mark.parametrize(
    ("head", "signals"),
    [
        ("", Signals()),
        ('<meta name="robots" content="NOINDEX, nofollow">', Signals(noindex=True)),
        ('<meta name="ROBOTS" content="none">', Signals(noindex=True)),
        ('<meta name="robots" content="noai, noimageai">', Signals(noai=True)),
        ('<meta name="googlebot" content="noindex">', Signals()),
        ('<meta name="tdm-reservation" content="1">', Signals(tdm_reserved=True)),
    ],
)
def test_opt_outs_in_the_page(head: str, signals: Signals) -> None:
    assert extract_page(html_page(ENGLISH["tea"], head=head), DAY, OPTIONS).signals == signals


def test_opt_outs_in_the_headers() -> None:
    assert header_signals(["noindex, noai"], "1") == Signals(True, True, True)
    assert header_signals(["googlebot: noindex", "ccbot: noai"], "0") == Signals(noai=True)
    assert header_signals([], "") == Signals()


def test_language_falls_back_on_meta() -> None:
    page = html_page(ENGLISH["tea"], head='<meta http-equiv="Content-Language" content="en-GB">')
    assert extract_page(page.replace(' lang="en"', ""), DAY, OPTIONS).language == "en-gb"


def test_title_falls_back_on_the_heading() -> None:
    page = html_page(ENGLISH["tea"])
    start, end = page.index("<title>"), page.index("</title>") + len("</title>")
    assert extract_page(page[:start] + page[end:], DAY, OPTIONS).title == ENGLISH["tea"][0]


def test_too_many_tags_are_refused_before_parsing() -> None:
    with pytest.raises(TooComplexError, match="tags"):
        extract_page("<p>" * 11, DAY, ExtractionOptions(max_tags=10))


def test_nesting_beyond_the_parser_is_named() -> None:
    with pytest.raises(TooComplexError, match="nested deeper"):
        extract_page("<html><body>" + "<div>" * 1000 + "<p>Some text at the bottom of it.</p>", DAY, OPTIONS)


@pytest.mark.parametrize(
    "html", ["", "   ", "<html></html>", "\x00\x01", "<?xml version='1.0'?>", "<![CDATA[", "plain text"]
)
def test_pages_without_markup_give_text_or_nothing(html: str) -> None:
    assert isinstance(extract_page(html, DAY, OPTIONS).text, str)


def test_text_is_always_valid_unicode() -> None:
    assert well_formed("a\ud800b\0c") == "a?bc"
    text = extract_page(html_page(ENGLISH["tea"]).replace("camellia", "&#xD800;camellia\x00"), DAY, OPTIONS).text
    text.encode("utf-8")
    assert "camellia" in text and "\0" not in text
