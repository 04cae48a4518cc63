"""One HTML page to its main text, title and what it says about itself and its use.

The page is parsed once and everything is read from that tree. trafilatura does the extraction; where it finds nothing,
resiliparse may. Two of trafilatura's options would make a page's text depend on something else than the page:
`deduplicate` remembers segments of the pages before, and the date search takes today as its upper bound. The first is
off, the second gets the capture date.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from tasks.extract.gates import Skip
from tasks.extract.metadata import Metadata, Search, page_metadata
from tasks.extract.plain import main_text
from tasks.extract.verbatim import Verbatim
from tasks.extract.wellformed import well_formed

if TYPE_CHECKING:
    from lxml.etree import XPath
    from lxml.html import HtmlElement

Mode = Literal["precision", "balanced", "recall"]
Extractor = Literal["trafilatura", "resiliparse", "given"]

PARSER_DEPTH = 255  # libxml2 drops what is nested deeper (parserInternals.h, without XML_PARSE_HUGE)
MAX_ATTRIBUTES = 2_000  # of one tag: parsers compare each with every other; 40,000 take seconds
_LONG_TAG = re.compile(rf"<[A-Za-z][\w:-]*[\s/][^<>]{{{2 * MAX_ATTRIBUTES}}}[^<>]*")
_ATTRIBUTE = re.compile(r"[\w:.-]+(?:=\S*)?")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
MAX_SPAN = 100  # of a table's cell that trafilatura follows (its main_extractor.py)
_SPANS = ("colspan", "rowspan", "COLSPAN", "ROWSPAN")
MAX_TITLE_CHARS = 512
MAX_LANGUAGE_CHARS = 35  # BCP 47 recommends room for 35 characters (RFC 5646, 4.4.1)
MAX_LICENCE_CHARS = 512
_LICENCE_NAMES = {"license", "licence", "dc.rights.license", "dcterms.license", "dc.license"}
_ROBOTS_NAMES = {"robots", "ccbot"}  # the directives for everyone, and for Common Crawl's own robot
_CREATIVE_COMMONS = re.compile(
    r"^(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", re.IGNORECASE
)
_REL_LICENCE = re.compile(r"rel\s*+=\s*+[\"']?+[a-z ]*license", re.IGNORECASE)
_FOOTER_LINKS = ".//footer//a[@href] | .//div[contains(@class, 'footer') or contains(@id, 'footer')]//a[@href]"


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """How pages are turned into text; see `ExtractParams` for the meaning of the fields."""

    mode: Mode = "precision"
    fast: bool = False
    include_comments: bool = False
    include_tables: bool = True
    markdown: bool = False
    verbatim: bool = True
    metadata: Search = "declared"
    fallback_words: int = 100
    max_tags: int = 200_000
    max_depth: int = PARSER_DEPTH


@dataclass(frozen=True, slots=True)
class Signals:
    """What a page or its HTTP headers say about the use of the page."""

    noindex: bool = False
    noai: bool = False
    tdm_reserved: bool = False

    def __or__(self, other: "Signals") -> "Signals":
        return Signals(self.noindex or other.noindex, self.noai or other.noai, self.tdm_reserved or other.tdm_reserved)


@dataclass(frozen=True, slots=True)
class Page:
    """What is read from a page. Empty strings mean that the page does not say."""

    text: str
    title: str
    language: str
    """Declared language (`<html lang>`), lower case, as written otherwise: `en-gb`."""
    licence_url: str
    signals: Signals
    metadata: Metadata
    extractor: Extractor


def extract_page(
    html: str,
    captured_on: str,
    options: ExtractionOptions,
    *,
    url: str = "",
    gate: Callable[[str], Skip | None] | None = None,
) -> Page | Skip:
    """Read one page, or say why not: too_many_tags, too_many_attributes, too_deep, empty_text, or what the gate says.

    Args:
        captured_on: `YYYY-MM-DD`, the upper bound for dates found in the page.
        url: the page's address, which may hold its date.
        gate: asked before the page is parsed.

    Raises:
        Exception: whatever lxml or trafilatura raise on this page.
    """
    from trafilatura.utils import load_html

    n_tags = html.count("<")
    if n_tags > options.max_tags:
        return Skip("too_many_tags", f"{n_tags} tags, {options.max_tags} are allowed")
    if (n_attributes := most_attributes(html)) > MAX_ATTRIBUTES:
        return Skip("too_many_attributes", f"{n_attributes} in one tag, {MAX_ATTRIBUTES} are allowed")
    if gate is not None and (skip := gate(html)) is not None:
        return skip
    tree = load_html(html)
    if tree is None:
        return Skip("empty_text", "no markup")
    if any(name in html for name in _SPANS) and (n_cells := spanned_cells(tree)) > options.max_tags:
        return Skip("too_many_tags", f"{n_cells} cells with their spans, {options.max_tags} are allowed")
    if is_deeper(tree, options.max_depth):
        return Skip("too_deep", f"nested deeper than {options.max_depth} elements")
    title = _title(tree)  # before formulas in it are rewritten
    text, extractor = _text_of(tree, html, captured_on, options)
    if not text:
        return Skip("empty_text")
    licence, language, signals = _declarations(tree, html)
    return Page(
        text=text,
        title=title,
        language=_attribute(tree, "lang", "{http://www.w3.org/XML/1998/namespace}lang", "xml:lang").lower()[
            :MAX_LANGUAGE_CHARS
        ]
        or language,
        licence_url=licence,
        signals=signals,
        metadata=page_metadata(tree, url, captured_on, options.metadata),
        extractor=extractor,
    )


def given_page(text: str) -> Page | Skip:
    """A page whose text someone else has extracted; nothing more is known of it."""
    text = well_formed(text).strip()
    return Page(text, "", "", "", Signals(), Metadata(), "given") if text else Skip("empty_text")


def _text_of(tree: "HtmlElement", html: str, captured_on: str, options: ExtractionOptions) -> tuple[str, Extractor]:
    """The main text, empty if there is none, and who found it."""
    from trafilatura import extract

    verbatim = Verbatim(tree, html, markdown=options.markdown) if options.verbatim else None

    text = extract(
        tree,
        output_format="markdown" if options.markdown else "txt",
        favor_precision=options.mode == "precision",
        favor_recall=options.mode == "recall",
        fast=options.fast,
        include_comments=options.include_comments,
        include_tables=options.include_tables,
        deduplicate=False,
        date_extraction_params={"original_date": True, "extensive_search": False, "max_date": captured_on},
    )
    text = well_formed((verbatim.restore(text) if verbatim else text) if text else "")
    if text.strip():
        return text, "trafilatura"
    if options.fallback_words:
        # From the page as it came: where lxml misread it, another parser may not.
        text = well_formed(main_text(html))
        if len(text.split()) >= options.fallback_words:
            return text, "resiliparse"
    return "", "trafilatura"


def is_deeper(tree: "HtmlElement", depth: int) -> bool:
    """Whether elements are nested at least `PARSER_DEPTH` deep, where the parser stops, or deeper than `depth`."""
    return bool(_deeper_than(min(depth + 1, PARSER_DEPTH))(tree))


def most_attributes(html: str) -> int:
    """Different attributes of the tag that has most, among those long enough to have `MAX_ATTRIBUTES`; 0: none is.

    A script's `a<b` looks like a tag, but is not followed by thousands of names.
    """
    tags = (_QUOTED.sub(" ", found[0]).split()[1:] for found in _LONG_TAG.finditer(html))
    return max((len({part for part in parts if _ATTRIBUTE.fullmatch(part)}) for parts in tags), default=0)


def spanned_cells(tree: "HtmlElement") -> int:
    """Cells that trafilatura makes of the page's tables: it fills every row up and repeats cells by their spans."""
    n_cells = 0
    for table in tree.iter("table"):
        widest = n_rows = 0
        for row in (*table.iterfind("./tr"), *table.iterfind("./*/tr")):  # the latter in thead, tbody, tfoot
            spans = [(_span(cell.get("colspan")), _span(cell.get("rowspan"))) for cell in row]
            n_rows += 1
            widest = max(widest, sum(across for across, _ in spans))
            n_cells += sum(across * (down - 1) for across, down in spans)
        n_cells += n_rows * min(widest, MAX_SPAN)
    return n_cells


def _span(value: str | None) -> int:
    if not value or not value.isdecimal():
        return 1
    return MAX_SPAN if len(value) > 9 else min(int(value), MAX_SPAN)


@cache
def _deeper_than(depth: int) -> "XPath":
    from lxml.etree import XPath

    return XPath("boolean(" + "/*" * depth + ")")


def header_signals(robots: list[str], tdm_reservation: str) -> Signals:
    """Signals from HTTP: the values of X-Robots-Tag and of tdm-reservation (W3C TDMRep, 4.2)."""
    signals = Signals(tdm_reserved=tdm_reservation.strip() == "1")
    for value in robots:
        agent, colon, rest = value.partition(":")
        # "unavailable_after: DATE" is a directive with a colon, any other name before one is a robot's.
        if colon and agent.strip().lower() not in _ROBOTS_NAMES and "," not in agent:
            continue
        signals |= _robots(rest if colon else value)
    return signals


def _robots(content: str) -> Signals:
    directives = {directive.strip().lower() for directive in content.split(",")}
    return Signals(noindex=bool(directives & {"noindex", "none"}), noai="noai" in directives)


def _declarations(tree: "HtmlElement", html: str) -> tuple[str, str, Signals]:
    """Licence, language and signals from `<meta>`, then a licence from the page's links.

    Links are many, and few pages have one of these: the markup is searched for the words first.
    """
    licence, language, signals = "", "", Signals()
    for element in tree.iter("meta"):
        name = _attribute(element, "name", "property", "http-equiv").lower()
        content = _attribute(element, "content")
        if name in _ROBOTS_NAMES:
            signals |= _robots(content)
        elif name == "tdm-reservation":
            signals |= Signals(tdm_reserved=content == "1")
        elif name == "content-language":
            language = language or content.lower()[:MAX_LANGUAGE_CHARS]
        elif name in _LICENCE_NAMES and content.startswith(("http://", "https://")):
            licence = licence or content
    if not licence and _REL_LICENCE.search(html):
        links = (element for element in tree.iter("link", "a") if "license" in element.get("rel", "").lower().split())
        licence = next((href for element in links if (href := _attribute(element, "href"))), "")
    if (
        not licence and "creativecommons.org/" in html
    ):  # the usual "this work is licensed under" link; one in running text says nothing about the page
        hrefs = (_attribute(element, "href") for element in tree.xpath(_FOOTER_LINKS))
        licence = next((href for href in hrefs if _CREATIVE_COMMONS.match(href)), "")
    return licence[:MAX_LICENCE_CHARS], language, signals


def _title(tree: "HtmlElement") -> str:
    """The `<title>` of the head, else the first heading of the highest level."""
    element = tree.find(".//head//title")
    title = _plain(element) if element is not None else ""
    if not title and (heading := tree.find(".//h1")) is not None:
        title = _plain(heading)
    return title[:MAX_TITLE_CHARS]


def _plain(element: "HtmlElement") -> str:
    return " ".join(well_formed("".join(element.itertext())).split())


def _attribute(element: "HtmlElement", *names: str) -> str:
    """The first of these attributes that is there, trimmed."""
    for name in names:
        value = element.get(name)
        if value:
            return well_formed(value.strip())
    return ""
