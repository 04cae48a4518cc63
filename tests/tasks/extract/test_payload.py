"""What counts as a page: responses, pages stored alone, texts; and records that are cut or mislabelled."""

import pytest

from tasks.extract.gates import Skip
from tasks.extract.payload import Payload, payload_of
from tasks.extract.records import Record

PAGES = ("text/html",)
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>body"


def record(kind: str, block: bytes | None, content_type: str = "", **more: object) -> Record:
    headers = {"content-type": content_type, "content-length": "99"}
    return Record(0, 100, kind, headers, block, **more)  # type: ignore[arg-type]


def payload(*args: object, **more: object) -> Payload:
    found = payload_of(record(*args, **more), PAGES)  # type: ignore[arg-type]
    assert isinstance(found, Payload)
    return found


def test_a_response_is_http() -> None:
    found = payload("response", HTTP, "application/http")
    assert (found.response.status, found.response.body) == (200, b"<p>body")
    assert (found.is_text, found.cut) == (False, False)


@pytest.mark.parametrize("kind", ["response", "resource"])
def test_a_page_may_be_stored_alone(kind: str) -> None:
    found = payload(kind, b"<p>body", "text/html; charset=koi8-r")
    assert (found.response.status, found.response.body) == (None, b"<p>body")
    assert found.response.get("content-type") == "text/html; charset=koi8-r"


def test_a_text_is_given() -> None:
    found = payload("conversion", b"body", "text/plain")
    assert (found.response.status, found.response.body, found.is_text) == (None, b"body", True)


@pytest.mark.parametrize(
    ("made", "skip"),
    [
        (record("revisit", HTTP), Skip("not_a_response", "revisit")),
        (record("continuation", b"more"), Skip("not_a_response", "continuation")),
        (record("unknown", b"what"), Skip("not_a_response", "unknown")),
        (record("conversion", b"\x89PNG", "image/png"), Skip("not_a_response", "conversion to image/png")),
        (record("response", b"1 2 3", "text/dns"), Skip("not_http", "text/dns")),
        (record("response", None), Skip("too_large", "a record of 99 bytes")),
        (record("response", None, damage="corrupt_record", detail="why"), Skip("corrupt_record", "why")),
        (record("unknown", None, damage="corrupt_record", detail="why"), Skip("corrupt_record", "why")),
        (record("response", b"HTT", damage="truncated_record", detail="why"), Skip("truncated_record", "why")),
        (record("response", HTTP[:30], damage="truncated_record", detail="why"), Skip("truncated_record", "why")),
        (record("response", HTTP[:44], damage="truncated_record", detail="why"), Skip("truncated_record", "why")),
    ],
)
def test_the_rest_has_a_reason(made: Record, skip: Skip) -> None:
    assert payload_of(made, PAGES) == skip


def test_a_cut_record_is_used_if_its_headers_are_whole() -> None:
    found = payload("response", HTTP[:-2], "application/http", damage="truncated_record")
    assert (found.response.body, found.cut) == (b"<p>bo", True)


def test_one_segment_of_several_is_a_cut_page() -> None:
    made = record("response", HTTP)
    made.headers["warc-segment-number"] = "1"
    found = payload_of(made, PAGES)
    assert isinstance(found, Payload) and found.cut


@pytest.mark.parametrize("kind", ["unknown", "resqonse", ""])
def test_a_response_whose_type_is_spoilt_is_one(kind: str) -> None:
    assert payload(kind, HTTP).response.status == 200
