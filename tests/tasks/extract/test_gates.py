"""Gates: what is turned away, and why."""

import pytest

from tasks.extract.gates import (
    RepeatGate,
    declared_type_gate,
    looks_like_html,
    size_gate,
    sniffed_type_gate,
    status_gate,
    url_gate,
)
from tasks.url_lists.lists import UrlLists

HTML = ("text/html", "application/xhtml+xml")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(200, None), (301, "redirect"), (304, "redirect"), (404, "http_status"), (206, "http_status")],
)
def test_status(status: int, reason: str | None) -> None:
    skip = status_gate(status)
    assert (skip and (skip.reason, skip.detail)) == (reason and (reason, str(status)))


@pytest.mark.parametrize(
    ("declared", "passes"),
    [("text/html", True), ("application/xhtml+xml", True), ("", True), ("text/plain", True), ("image/png", False)],
)
def test_declared_type(declared: str, passes: bool) -> None:
    assert (declared_type_gate(declared, HTML) is None) == passes


@pytest.mark.parametrize(
    ("declared", "body", "passes"),
    [
        ("text/html", b"<html>", True),
        ("text/html", b"no tag at all", True),
        ("text/html", b"%PDF-1.7", False),
        ("text/html", b"\x89PNG\r\n\x1a\n", False),
        ("text/html", b"RIFF\x00\x00\x00\x00WEBP", False),
        ("text/plain", b"\xef\xbb\xbf <!-- x --> <!DOCTYPE html>", True),
        ("text/plain", b"just text", False),
        ("", b"<?xml version='1.0'?>\n<html lang='en'>", True),
        ("", b"<rss version='2.0'>", False),
        ("", b"<!-- never closed <html>", False),
        ("", "<html>".encode("utf-16"), True),
    ],
)
def test_the_body_has_the_last_word_on_its_type(declared: str, body: bytes, passes: bool) -> None:
    assert (sniffed_type_gate(declared, body, HTML) is None) == passes


def test_a_tag_name_must_end() -> None:
    assert looks_like_html(b"<p>")
    assert not looks_like_html(b"<pre-historic>")


def test_size() -> None:
    assert size_gate(10, 10) is None
    assert size_gate(0, 10).reason == "empty_body"
    assert size_gate(11, 10).reason == "too_large"


def test_a_repeated_payload_names_the_first() -> None:
    gate = RepeatGate()
    assert gate(b"a", "offset 1") is None
    assert gate(b"b", "offset 2") is None
    skip = gate(b"a", "offset 3")
    assert (skip.reason, skip.detail) == ("repeated_payload", "offset 1")


def test_addresses_by_lists_then_by_words() -> None:
    lists = [UrlLists.of_lines({"spam": ["bad.example"]}), UrlLists.of_lines({"more": ["worse.example"]})]
    assert url_gate("https://good.example/", lists, use_words=True) is None
    skip = url_gate("https://www.worse.example/a", lists, use_words=True)
    assert skip is not None
    assert (skip.reason, skip.detail) == ("url_list", "more: worse.example")
    porn = url_gate("https://good.example/porn/1", lists, use_words=True)
    assert porn is not None
    assert porn.reason == "url_hard_word"
    assert url_gate("https://good.example/porn/1", lists, use_words=False) is None
    assert url_gate(None, lists, use_words=True) is None


def test_a_response_of_unknown_status_passes() -> None:
    assert status_gate(None) is None
