"""Pages to `.warc.gz` as Common Crawl writes them.

One gzip member a record; a warcinfo record first, then for each capture a request, a response and a metadata record
(WARC 1.0, ISO 28500:2009). Digests are SHA-1 in base32 over the payload and over the block. The HTTP header block of
a response is the server's, except that encodings already undone and the resulting length are noted as Common Crawl
notes them (`X-Crawl-Content-Encoding`, `X-Crawl-Content-Length`, then the true `Content-Length`). Record ids are
derived from what a record is about, gzip headers carry no time, so equal captures give equal bytes.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

# The namespace of record ids: a version-5 UUID (RFC 9562, section 5.5) of this project's name.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "sluice:sample-crawl")
_GZIP = 31  # zlib's wbits for a gzip member with an empty header (no name, mtime 0)
_LEVEL = 6  # zlib's default
_PACKED_SHARE = 4  # HTML shrinks to about a quarter under gzip; the length "on the wire" is only a header here
_REASONS = {
    200: "OK", 301: "Moved Permanently", 302: "Found", 304: "Not Modified", 403: "Forbidden", 404: "Not Found",
    410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
SOFTWARE = "Sluice sample crawl"


@dataclass(frozen=True, slots=True)
class Capture:
    """One fetched resource. `attempt` tells captures of one URL apart."""

    kind: str
    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    mime: str = "text/html"
    charset: str = "UTF-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    truncated: str = ""  # WARC-Truncated: "length", "time", "disconnect"
    attempt: int = 0

    @property
    def key(self) -> bytes:
        """Where and when a capture lies follows from these bits."""
        return hashlib.sha256(f"{self.url} {self.attempt}".encode()).digest()


def records(capture: Capture, fetched: datetime, warcinfo_id: str) -> bytes:
    """The request, response and metadata records of one capture, a gzip member each."""
    parts = urlsplit(capture.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    date = fetched.strftime("%Y-%m-%dT%H:%M:%SZ")
    address = f"192.0.2.{hashlib.sha256(parts.netloc.encode()).digest()[0] or 1}"  # RFC 5737: for documentation
    request_id, response_id, metadata_id = (
        _record_id(role, capture.url, str(capture.attempt)) for role in ("request", "response", "metadata")
    )
    request = (
        f"GET {target} HTTP/1.1\r\nUser-Agent: SluiceSampleCrawl/1.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        f"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: br,gzip\r\nHost: {parts.netloc}\r\n"
        "Connection: Keep-Alive\r\n\r\n"
    ).encode()
    head = _http_head(capture, fetched)
    response = head + capture.body
    common = [("WARC-IP-Address", address), ("WARC-Target-URI", capture.url)]
    response_headers = [
        ("WARC-Concurrent-To", f"<{request_id}>"),
        *common,
        ("WARC-Payload-Digest", _digest(capture.body)),
        ("WARC-Block-Digest", _digest(response)),
        ("WARC-Identified-Payload-Type", capture.mime),
        *([("WARC-Truncated", capture.truncated)] if capture.truncated else []),
    ]
    fetch_ms = int.from_bytes(capture.key[-2:], "big") % 900 + 40
    metadata = f"fetchTimeMs: {fetch_ms}\r\ncharset-detected: {capture.charset}\r\n\r\n".encode()
    info = ("WARC-Warcinfo-ID", f"<{warcinfo_id}>")
    http = "application/http; msgtype="
    return b"".join(
        [
            _record("request", date, request_id, http + "request", request, [info, *common, _block_digest(request)]),
            _record("response", date, response_id, http + "response", response, [info, *response_headers]),
            _record(
                "metadata", date, metadata_id, "application/warc-fields", metadata,
                [info, ("WARC-Concurrent-To", f"<{response_id}>"), common[1], _block_digest(metadata)],
            ),
        ]
    )  # fmt: skip


def warcinfo_id(filename: str) -> str:
    """The id that the records of a file name as their warcinfo record."""
    return _record_id("warcinfo", filename)


def write_file(path: Path, started: datetime, crawl: str, members: Iterable[bytes]) -> None:
    """Write one WARC file: its warcinfo record, then the given records (see `records`)."""
    fields = {
        "isPartOf": crawl,
        "publisher": "Sluice",
        "description": "Documentation of the installed software, laid out as a small web",
        "software": SOFTWARE,
        "robots": "not checked: nothing was fetched",
        "format": "WARC File Format 1.0",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.0/",
    }
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\n"
    date = started.strftime("%Y-%m-%dT%H:%M:%SZ")
    head = [("WARC-Filename", path.name), _block_digest(block)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_record("warcinfo", date, warcinfo_id(path.name), "application/warc-fields", block, head))
        for member in members:
            file.write(member)


def _record(
    kind: str, date: str, record_id: str, content_type: str, block: bytes, headers: Iterable[tuple[str, str]]
) -> bytes:
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Date: {date}",
        f"WARC-Record-ID: <{record_id}>",
        f"Content-Length: {len(block)}",
        f"Content-Type: {content_type}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return zlib.compress("\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n", _LEVEL, wbits=_GZIP)


def _http_head(capture: Capture, fetched: datetime) -> bytes:
    lines = [
        f"HTTP/1.1 {capture.status} {_REASONS[capture.status]}",
        f"Date: {format_datetime(fetched.astimezone(UTC), usegmt=True)}",
        "Server: nginx",
        f"Content-Type: {capture.content_type}",
        *(f"{name}: {value}" for name, value in capture.headers),
    ]
    if capture.body and capture.mime.startswith("text/"):
        packed = len(capture.body) // _PACKED_SHARE
        lines += ["X-Crawl-Content-Encoding: gzip", "Vary: Accept-Encoding", f"X-Crawl-Content-Length: {packed}"]
    return ("\r\n".join([*lines, f"Content-Length: {len(capture.body)}"]) + "\r\n\r\n").encode("latin-1")


def _record_id(*about: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, ' '.join(about))}"


def _digest(data: bytes) -> str:
    return "sha1:" + b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _block_digest(block: bytes) -> tuple[str, str]:
    return "WARC-Block-Digest", _digest(block)
