"""What is turned away before the dear part, cheapest test first, each with its reason.

A gate answers None (passed) or a `Skip`. The gates here look at addresses, headers and first bytes; `plain.py` has the
one that reads the page.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.url_lists.lists import UrlLists

SNIFF_BYTES = 1024  # of a body looked at for its type
# Types that say nothing about the content; servers fall back on them, so the body decides.
VAGUE_TYPES = frozenset({"", "text/plain", "application/octet-stream", "unknown/unknown", "application/unknown", "*/*"})

# First bytes of what is no text (WHATWG MIME Sniffing, 6 and 7.1).
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"OggS\x00", "application/ogg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x7fELF", "application/x-executable"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
)
# Tags that make a page HTML whatever its type says (WHATWG MIME Sniffing, 7.1), in lower case.
_HTML_OPENINGS = tuple(
    f"<{tag}".encode()
    for tag in (
        "!doctype html",
        "html",
        "head",
        "script",
        "iframe",
        "h1",
        "div",
        "font",
        "table",
        "a",
        "style",
        "title",
        "b",
        "body",
        "br",
        "p",
        "meta",
        "link",
    )
)


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a response is no document."""

    reason: str
    detail: str = ""


def status_gate(status: int | None) -> Skip | None:
    """Only 200 carries a page: 206 is a piece of one, 203 and others are too rare to matter. None: nobody said."""
    if status is None:
        return None
    if 300 <= status < 400:
        return Skip("redirect", str(status))
    return None if status == 200 else Skip("http_status", str(status))


def declared_type_gate(declared: str, accepted: Iterable[str]) -> Skip | None:
    """Turns away by the Content-Type header alone; vague types are left to `sniffed_type_gate`."""
    return None if declared in accepted or declared in VAGUE_TYPES else Skip("mime", declared)


def sniffed_type_gate(declared: str, body: bytes, accepted: Iterable[str]) -> Skip | None:
    """Turns away what the first bytes show to be no page, whatever the header says."""
    binary = sniff_binary(body)
    if binary:
        return Skip("mime", f"{declared or 'no type'}, but is {binary}")
    if declared not in accepted and not looks_like_html(body):
        return Skip("mime", declared or "no type")
    return None


def url_gate(url: str | None, lists: "Iterable[UrlLists]", use_words: bool) -> Skip | None:
    """Turns away by the address alone: by the lists in turn, then by the words in it."""
    from tasks.filters.url import url_verdict  # which reads its words from a file at first use

    verdict = url_verdict(url, *lists, use_words=use_words) if url else None
    return Skip(verdict.reason, verdict.detail) if verdict else None


def size_gate(n_bytes: int, limit: int) -> Skip | None:
    """Turns away empty and oversized bodies."""
    if n_bytes == 0:
        return Skip("empty_body")
    return Skip("too_large", f"{n_bytes} bytes") if n_bytes > limit else None


class RepeatGate:
    """Turns away a payload that an earlier page of the part had already, byte for byte.

    Only pages that passed the gates before it are remembered. It works within a part, since a part's result may depend
    on the part alone; across parts `dedup` does it.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}

    def __call__(self, digest: bytes, where: str) -> Skip | None:
        first = self._first.setdefault(digest, where)
        return None if first == where else Skip("repeated_payload", first)


def sniff_binary(body: bytes) -> str:
    """Media type of a body that is clearly no text; empty otherwise."""
    if body[:4] == b"RIFF" and body[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return "image/webp" if body[8:12] == b"WEBP" else "audio/wav" if body[8:12] == b"WAVE" else "video/avi"
    if body[4:8] == b"ftyp":
        return "video/mp4"
    return next((name for magic, name in _SIGNATURES if body.startswith(magic)), "")


def looks_like_html(body: bytes) -> bool:
    """Whether the first tag of a body is one of HTML's, after white space, a byte order mark and comments."""
    head = body[:SNIFF_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")[2:]
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    while head.startswith((b"<!--", b"<?xml")):
        _, closed, head = head.partition(b"-->" if head.startswith(b"<!--") else b"?>")
        head = head.lstrip()
        if not closed:
            return False
    return any(
        head.startswith(opening) and (head[len(opening) : len(opening) + 1] in (b" ", b">", b"\n", b"\r", b"\t", b"/"))
        for opening in _HTML_OPENINGS
    )
