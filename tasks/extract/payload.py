"""What a record holds of a page: an HTTP response, a page without one, or the text that someone has made of it.

    response    HTTP status, headers and body; in old ARC files sometimes the page alone
    resource    the page alone, as tools store it that save what a browser shows
    conversion  of type text/plain: the text of a page, as in Common Crawl's WET files

A record that is cut off is used as far as it goes, if its headers are whole.
"""

from collections.abc import Collection
from dataclasses import dataclass

from tasks.extract.gates import Skip
from tasks.extract.http import HttpResponse, bare_response, media_type, parse_response
from tasks.extract.records import Record

# Record types that describe a response or the file (WARC 1.1, 5.5); every other record is accounted for.
DESCRIBING_KINDS = frozenset({"warcinfo", "request", "metadata"})
REGISTERED_KINDS = DESCRIBING_KINDS | {"response", "revisit", "resource", "conversion", "continuation", "unknown"}
PAGE_KINDS = frozenset({"response", "resource", "conversion"})
PLAIN_TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Payload:
    """The page of a record, as it was stored."""

    response: HttpResponse
    is_text: bool = False
    """The body is a page's text already, and not a page."""
    cut: bool = False
    """The record breaks off, or is one of several segments: some of the body is missing."""


def payload_of(record: Record, page_types: Collection[str]) -> Payload | Skip:
    """The page of a record, or why there is none.

    Args:
        page_types: media types of pages: a response of one of these may come without HTTP.
    """
    if record.kind not in PAGE_KINDS and not _is_disguised_response(record):
        return _damage(record) or Skip("not_a_response", record.kind)
    if record.block is None:
        return _damage(record) or Skip(
            "too_large", record.detail or f"a record of {record.headers.get('content-length')} bytes"
        )
    content_type = record.headers.get("content-type", "")
    cut = record.damage is not None or "warc-segment-number" in record.headers
    if record.kind == "conversion":
        if media_type(content_type) != PLAIN_TEXT:
            return Skip("not_a_response", f"conversion to {content_type}")
        return Payload(bare_response(content_type, record.block), is_text=True, cut=cut)
    response = parse_response(record.block)
    if response is None and (record.kind == "resource" or media_type(content_type) in page_types):
        response = bare_response(content_type, record.block)
    if response is None:
        return _damage(record) or Skip("not_http", content_type)
    if record.damage and not (response.complete_head and response.body):
        return Skip(record.damage, record.detail)
    return Payload(response, cut=cut)


def _damage(record: Record) -> Skip | None:
    return Skip(record.damage, record.detail) if record.damage else None


def _is_disguised_response(record: Record) -> bool:
    """Whether its type is spoilt, but not what it holds."""
    known = record.kind in REGISTERED_KINDS and record.kind != "unknown"
    return not known and record.block is not None and parse_response(record.block) is not None
