"""Pages: main text and what the page says about its use, from one tree."""

import pytest

from tasks.extract import page as page_module
from tasks.extract.gates import Skip
from tasks.extract.metadata import Metadata
from tasks.extract.page import ExtractionOptions, Page, Signals, header_signals
from tasks.extract.wellformed import well_formed
from tests.miniature import ENGLISH, NAVIGATION, html_page

OPTIONS = ExtractionOptions()
DAY = "2024-05-18"


def extract_page(html: str, day: str = DAY, options: ExtractionOptions = OPTIONS, **about: str) -> Page:
    """A page that gives one."""
    found = page_module.extract_page(html, day, options, **about)
    assert isinstance(found, Page), found
    return found


def skipped(html: str, options: ExtractionOptions = OPTIONS) -> Skip:
    """Why a page gives none."""
    found = page_module.extract_page(html, DAY, options)
    assert isinstance(found, Skip), found
    return found


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
    skip = skipped("<p>" * 11, ExtractionOptions(max_tags=10))
    assert (skip.reason, skip.detail) == ("too_many_tags", "11 tags, 10 are allowed")


def test_a_tag_with_thousands_of_attributes_is_refused_before_parsing() -> None:
    many = html_page(ENGLISH["tea"]).replace("<h1>", f"<h1 {' '.join(f'a{k}' for k in range(2_001))}>")
    assert skipped(many) == Skip("too_many_attributes", "2001 in one tag, 2000 are allowed")
    script = "<script>for (;i<n ;i++) {" + "".join(f" v{k % 50} = a[{k}];" for k in range(9_000)) + "}</script>"
    assert extract_page(html_page(ENGLISH["tea"]).replace("<h1>", script + "<h1>")).text
    picture = html_page(ENGLISH["tea"]).replace("<h1>", f"<h1><svg><path d='{'M 0 0 L 1 1 ' * 9_000}'></svg>")
    assert extract_page(picture).text


def test_tables_count_with_the_cells_that_their_spans_make() -> None:
    row = "<tr><td colspan=60>a</td></tr>"
    table = html_page(ENGLISH["tea"]).replace("</h1>", f"</h1><table>{row * 30}</table>")
    assert skipped(table, ExtractionOptions(max_tags=1_500)).reason == "too_many_tags"
    assert extract_page(table, DAY, ExtractionOptions(max_tags=2_000)).text


@pytest.mark.parametrize(("depth", "reason"), [(20, ""), (40, "too_deep"), (1_000, "too_deep")])
def test_depth_is_limited(depth: int, reason: str) -> None:
    html = html_page(ENGLISH["tea"]).replace("<h1>", "<div>" * depth + "<h1>")
    found = page_module.extract_page(html, DAY, ExtractionOptions(max_depth=30))
    assert (found.reason if isinstance(found, Skip) else "") == reason


def test_nesting_beyond_the_parser_is_never_half_read() -> None:
    assert skipped("<html><body>" + "<div>" * 1000 + "<p>Some text at the bottom of it.</p>").reason == "too_deep"


@pytest.mark.parametrize(
    "html", ["", "   ", "<html></html>", "\x00\x01", "<?xml version='1.0'?>", "<![CDATA[", "plain text"]
)
def test_pages_without_text_are_empty(html: str) -> None:
    assert skipped(html).reason == "empty_text"


def test_a_gate_is_asked_before_anything_is_parsed() -> None:
    asked = []

    def gate(html: str) -> Skip:
        asked.append(html)
        return Skip("plain_words", "3 words")

    found = page_module.extract_page(html_page(ENGLISH["tea"]), DAY, OPTIONS, gate=gate)
    assert found == Skip("plain_words", "3 words")
    assert asked == [html_page(ENGLISH["tea"])]


# Prose in an element whose content trafilatura discards and resiliparse does not.
_PARAGRAPHS = "".join(f"<p>{text}</p>" for _, text in ENGLISH["bread"][2])
FORM_PROSE = f"<html><body><fieldset>{_PARAGRAPHS}</fieldset></body></html>"


def test_resiliparse_is_asked_where_trafilatura_finds_nothing() -> None:
    page = extract_page(FORM_PROSE)
    assert page.extractor == "resiliparse"
    assert all(line in page.text for _, line in ENGLISH["bread"][2])
    assert extract_page(html_page(ENGLISH["bread"])).extractor == "trafilatura"
    assert skipped(FORM_PROSE, ExtractionOptions(fallback_words=0)).reason == "empty_text"


def test_the_second_text_needs_enough_words() -> None:
    n_words = len(extract_page(FORM_PROSE).text.split())
    assert extract_page(FORM_PROSE, DAY, ExtractionOptions(fallback_words=n_words)).text
    assert skipped(FORM_PROSE, ExtractionOptions(fallback_words=n_words + 1)).reason == "empty_text"


def test_modes_differ_in_how_much_they_take() -> None:
    teaser = "<div class='teaser'><p>" + "Ten loaves for ten days, all of them good. " * 5 + "</p></div>"
    html = html_page(ENGLISH["bread"]).replace("</article>", teaser + "</article>", 1)
    texts = {mode: extract_page(html, DAY, ExtractionOptions(mode=mode)).text for mode in ("precision", "recall")}
    assert "Ten loaves" in texts["recall"]
    assert "Ten loaves" not in texts["precision"]


@pytest.mark.parametrize(
    ("head", "url", "expected"),
    [
        ('<meta name="author" content="Ada  Lovelace">', "", Metadata("Ada Lovelace", "")),
        ('<meta name="author" content="admin">', "", Metadata()),
        ('<meta property="article:published_time" content="2023-02-01T10:00:00Z">', "", Metadata("", "2023-02-01")),
        ('<meta property="article:published_time" content="2031-02-01T10:00:00Z">', "", Metadata()),
        ("", "https://a.example/2022/03/04/tea", Metadata("", "2022-03-04")),
        (
            '<script type="application/ld+json">{"@context": "https://schema.org", "@type": "Article",'
            ' "author": {"@type": "Person", "name": "Ada Lovelace"}, "datePublished": "2021-05-06"}</script>',
            "",
            Metadata("Ada Lovelace", "2021-05-06"),
        ),
    ],
)
def test_author_and_date_as_declared(head: str, url: str, expected: Metadata) -> None:
    assert extract_page(html_page(ENGLISH["tea"], head=head), url=url).metadata == expected


def test_author_and_date_searched_or_not_at_all() -> None:
    byline = "<p class='author-name'>Ada Lovelace</p><time datetime='2020-01-02'>2 January 2020</time>"
    html = html_page(ENGLISH["tea"]).replace("</h1>", "</h1>" + byline)
    searched = extract_page(html, DAY, ExtractionOptions(metadata="searched")).metadata
    assert searched == Metadata("Ada Lovelace", "2020-01-02")
    assert extract_page(html, DAY, ExtractionOptions(metadata="declared")).metadata == Metadata()
    assert extract_page(html, DAY, ExtractionOptions(metadata="off")).metadata == Metadata()


def test_text_is_always_valid_unicode() -> None:
    assert well_formed("a\ud800b\0c") == "a?bc"
    text = extract_page(html_page(ENGLISH["tea"]).replace("camellia", "&#xD800;camellia\x00"), DAY, OPTIONS).text
    text.encode("utf-8")
    assert "camellia" in text and "\0" not in text


def test_an_author_with_escapes_of_half_characters_is_valid_unicode() -> None:
    head = r'<meta name="author" content="Jane \ud83d\ude00 Doe">'
    author = extract_page(html_page(ENGLISH["tea"], head=head)).metadata.author
    author.encode("utf-8")
    assert author.startswith("Jane") and author.endswith("Doe")


def test_a_link_of_mere_blanks_takes_no_longer_than_its_length() -> None:
    assert page_module._REL_LICENCE.search("<a rel=" + " " * 400_000 + ">") is None
    assert page_module._REL_LICENCE.search("<a rel = 'nofollow  License' href=x>")
