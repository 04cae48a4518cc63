"""One HTML page to its main text, title and what it says about its own use.

trafilatura does the extraction; the page is parsed once and everything is read from that tree. Two of its options
would make a page's text depend on something else than the page: `deduplicate` remembers segments of the pages before,
and the date search takes today as its upper bound. The first is off, the second gets the capture date.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

PARSER_DEPTH = 255  # libxml2 drops what is nested deeper (parserInternals.h, without XML_PARSE_HUGE)
_AT_PARSER_DEPTH = "boolean(" + "/*" * PARSER_DEPTH + ")"
MAX_TITLE_CHARS = 512
MAX_LANGUAGE_CHARS = 35  # BCP 47 recommends room for 35 characters (RFC 5646, 4.4.1)
MAX_LICENCE_CHARS = 512
_LICENCE_NAMES = {"license", "licence", "dc.rights.license", "dcterms.license", "dc.license"}
_ROBOTS_NAMES = {"robots", "ccbot"}  # the directives for everyone, and for Common Crawl's own robot
_CREATIVE_COMMONS = re.compile(
    r"^(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", re.IGNORECASE
)
_REL_LICENCE = re.compile(r"rel\s*=\s*[\"']?[a-z ]*license", re.IGNORECASE)
_FOOTER_LINKS = ".//footer//a[@href] | .//div[contains(@class, 'footer') or contains(@id, 'footer')]//a[@href]"


class TooComplexError(Exception):
    """The page has more markup than is worth parsing; the message says which limit it breaks."""


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """How pages are turned into text; see `ExtractParams` for the meaning of the fields."""

    favor_precision: bool = True
    fast: bool = False
    include_comments: bool = False
    include_tables: bool = True
    markdown: bool = False
    max_tags: int = 200_000


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


def extract_page(html: str, captured_on: str, options: ExtractionOptions) -> Page:
    """Read one page. An empty `text` means that trafilatura found no main text.

    Args:
        captured_on: `YYYY-MM-DD`, the upper bound for dates found in the page.

    Raises:
        TooComplexError: more tags than the options allow, or no text because of nesting beyond what libxml2 parses.
        Exception: whatever lxml or trafilatura raise on this page.
    """
    from trafilatura import extract
    from trafilatura.utils import load_html

    n_tags = html.count("<")
    if n_tags > options.max_tags:
        raise TooComplexError(f"{n_tags} tags, {options.max_tags} are allowed")
    tree = load_html(html)
    if tree is None:
        return Page("", "", "", "", Signals())
    text = extract(
        tree,
        output_format="markdown" if options.markdown else "txt",
        favor_precision=options.favor_precision,
        fast=options.fast,
        include_comments=options.include_comments,
        include_tables=options.include_tables,
        deduplicate=False,
        date_extraction_params={"original_date": True, "extensive_search": False, "max_date": captured_on},
    )
    if not text and tree.xpath(_AT_PARSER_DEPTH):
        raise TooComplexError(f"nested deeper than {PARSER_DEPTH} elements")
    licence, language, signals = _declarations(tree, html)
    return Page(
        text=well_formed(text or ""),
        title=_title(tree),
        language=_attribute(tree, "lang", "{http://www.w3.org/XML/1998/namespace}lang", "xml:lang").lower()[
            :MAX_LANGUAGE_CHARS
        ]
        or language,
        licence_url=licence,
        signals=signals,
    )


def use_lean_elements() -> None:
    """Let trafilatura's parser make plain elements: for a process that does nothing else, such as the sandbox's child.

    lxml.html picks a Python class for every element it touches (forms, inputs …); trafilatura uses none of their
    methods, and the choice was 6 to 10 % of its time. Texts of 304 real pages were the same with and without.
    """
    from lxml.etree import ElementDefaultClassLookup
    from lxml.html import HtmlComment, HtmlElement, HtmlEntity, HtmlProcessingInstruction
    from trafilatura.utils import HTML_PARSER

    HTML_PARSER.set_element_class_lookup(
        ElementDefaultClassLookup(
            element=HtmlElement, comment=HtmlComment, pi=HtmlProcessingInstruction, entity=HtmlEntity
        )
    )


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


def well_formed(text: str) -> str:
    """The text without lone surrogates and NULs, which neither UTF-8 nor the readers of the text can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


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
