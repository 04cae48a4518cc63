"""Who wrote a page, and when: what it declares, or what a search finds.

Declared is what stands in `<meta>`, JSON-LD and the address: cheap, and seldom wrong. trafilatura's search also reads
bylines and dates out of the markup; it takes half as long again as the text itself and guesses more, so it is a choice.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from tasks.extract.wellformed import well_formed

if TYPE_CHECKING:
    from lxml.html import HtmlElement

Search = Literal["off", "declared", "searched"]
MAX_AUTHOR_CHARS = 256


@dataclass(frozen=True, slots=True)
class Metadata:
    """Author (empty: unknown) and date of publication, `YYYY-MM-DD` (empty: unknown)."""

    author: str = ""
    published_on: str = ""


def page_metadata(tree: "HtmlElement", url: str, captured_on: str, search: Search) -> Metadata:
    """Metadata of a parsed page.

    Args:
        tree: not changed.
        captured_on: `YYYY-MM-DD`; later dates in the page are wrong. Without it the result would depend on today.
    """
    if search == "off":
        return Metadata()
    found = _searched(tree, url, captured_on) if search == "searched" else _declared(tree, url, captured_on)
    author, published_on = found
    # trafilatura reads "\\ud83d" in a name as an escape, and half a character comes out.
    author = " ".join(well_formed(author or "").split())[:MAX_AUTHOR_CHARS]
    return Metadata(author, _valid_date(published_on or "", captured_on))


def _searched(tree: "HtmlElement", url: str, captured_on: str) -> tuple[str | None, str | None]:
    from trafilatura.metadata import extract_metadata

    document = extract_metadata(tree, url or None, _date_options(captured_on), extensive=False)
    return document.author, document.date


def _declared(tree: "HtmlElement", url: str, captured_on: str) -> tuple[str | None, str | None]:
    """The first steps of `extract_metadata` and htmldate's `find_date`, in their order."""
    from htmldate.core import examine_header, json_search
    from htmldate.extractors import extract_url_date
    from htmldate.settings import MIN_DATE
    from htmldate.utils import Extractor
    from htmldate.validators import get_max_date
    from trafilatura.metadata import examine_meta, extract_meta_json

    document = examine_meta(tree)
    if document.author and " " not in document.author:  # an account's name more often than a person's
        document.author = None
    author = extract_meta_json(tree, document).author
    options = Extractor(False, get_max_date(captured_on), MIN_DATE, True, "%Y-%m-%d")
    return author, extract_url_date(url, options) or examine_header(tree, options) or json_search(tree, options)


def _date_options(captured_on: str) -> dict[str, Any]:
    return {"original_date": True, "extensive_search": False, "max_date": captured_on}


def _valid_date(text: str, captured_on: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        return ""
    return text if text <= captured_on else ""
