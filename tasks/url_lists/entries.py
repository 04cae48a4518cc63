"""What an entry of a list names, as a key; and under which keys an address is looked up.

squidGuard's meaning, in which the UT1 lists are written, made exact for hashes:

    domains   `example.com` names the host and everything below it (`a.b.example.com`), never `notexample.com`.
              `www.example.com` names the hosts `www.example.com` and `example.com` and nothing below: who lists the
              front page of a host of many does not list its tenants.
    urls      `example.com/a/b` names this address on `example.com` and `www.example.com` and what lies below it:
              `/a/b/c` and `/a/b?x=1`, not `/a/bc`. (squidGuard compares how strings begin and would take `/a/bc`.)
              `example.com/a?x=1` names exactly this query. A bare host names every page of the host itself.
    both      a line with a path is an entry of the second kind in whichever file it stands; an IP address names itself.

Scheme, user name, port, final dot, trailing slash and capitals say nothing (squidGuard lower-cases addresses, and its
lists are written so); percent-encoding, `.` and `..` are resolved, hosts in other scripts turned into ASCII; on both
sides alike. A public suffix (`com`, `co.uk`) is no entry, since one such line would throw away a country; but the
top-level domains for adult sites are, and UT1 lists them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tasks.filters.url import UrlParts, split_url

MAX_HOST_CHARS = 253  # RFC 1035, 2.3.4, without the final dot
ADULT_TOP_LABELS = frozenset({"adult", "porn", "sex", "xxx"})  # delegated for this (IANA root zone)
_LABEL = r"[a-z0-9_-]+"  # looser than RFC 1123: hosts such as `joe-.example.com` and `my_blog.example.com` are served
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# The common line: a domain that is its own key. The slow way gives the same for it.
_PLAIN_DOMAIN = re.compile(rf"(?!www\.)(?:{_LABEL}\.)+[a-z][a-z0-9-]*".encode())
_REMARK = re.compile(r"\s+#.*")
_SEGMENT_SAFE = "!$&'()*+,;=:@"  # RFC 3986, 3.3
_SETTLED = re.compile(r"[a-z0-9._~!$&'()*+,;=:@-]*")  # a segment that encoding leaves as it is


class Entry(NamedTuple):
    """A key, and what a lookup must ask to find it."""

    key: str
    depth: int = -1  # segments of its path; -1: a domain
    has_query: bool = False
    is_top_label: bool = False


class Shape(NamedTuple):
    """What lookups in a set of entries must ask."""

    depth: int = -1  # segments of the deepest path; -1: there are only domains
    queries: bool = False  # whether any entry has a query
    top_labels: bool = False  # whether any entry is a top-level domain

    def with_entry(self, entry: Entry) -> "Shape":
        """The shape of the set with one more entry."""
        return Shape(
            max(self.depth, entry.depth), self.queries or entry.has_query, self.top_labels or entry.is_top_label
        )


class BadLine(NamedTuple):
    """Why a line names nothing."""

    reason: str


def parse_line(line: bytes, suffixes: frozenset[str], *, hosts_only: bool = False) -> Entry | BadLine:
    """What one line of a list names.

    Args:
        suffixes: public suffixes in ASCII.
        hosts_only: a bare host names itself, not what is below it (files called `urls`).

    Returns:
        An entry, or why there is none: `blank`, `comment`, `not_utf8`, `bad_host`, `public_suffix`.
    """
    plain = line.strip()
    if not hosts_only and len(plain) <= MAX_HOST_CHARS and _PLAIN_DOMAIN.fullmatch(plain):
        domain = plain.decode("ascii")
        return BadLine("public_suffix") if domain in suffixes else Entry(domain)
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        return BadLine("not_utf8")
    if not text or text.startswith("#"):
        return BadLine("comment" if text else "blank")
    return _parse_text(_REMARK.sub("", text), suffixes, hosts_only)


def _parse_text(text: str, suffixes: frozenset[str], hosts_only: bool) -> Entry | BadLine:
    if "://" not in text:
        if "@" in text.partition("/")[0]:  # a mail address is not the host behind it
            return BadLine("bad_host")
        text = "//" + text.lstrip("*.")
    parts = split_url(text)
    if parts is None or len(parts.host) > MAX_HOST_CHARS:
        return BadLine("bad_host")
    segments = path_segments(parts.path)
    whole_domain = not (segments or parts.query or hosts_only)
    if not parts.is_ip:
        if not _HOST.fullmatch(parts.host):
            return BadLine("bad_host")
        if whole_domain and parts.host in ADULT_TOP_LABELS:
            return Entry(parts.host, is_top_label=True)
        if whole_domain and parts.host in suffixes:
            return BadLine("public_suffix")
        if "." not in parts.host:
            return BadLine("bad_host")
    front = front_host(parts)
    if whole_domain:
        return Entry(parts.host) if front == parts.host else Entry(f"{front}/", 0)
    key = f"{front}/{'/'.join(segments)}"
    return Entry(f"{key}?{parts.query.lower()}" if parts.query else key, len(segments), bool(parts.query))


def lookup_keys(parts: UrlParts, shape: Shape) -> Iterator[str]:
    """The keys that name an address, in the order in which they are asked.

    The host itself, the domains above it from the longest to that of two labels (of one, if there are such entries),
    the host without `www.`, then the path from the shortest piece to the whole, at last with its query.
    """
    host = parts.host
    yield host
    dot, last = host.find("."), host.rfind(".")
    if not (parts.is_ip or host[last + 1 :].isdecimal()):  # what ends in a number has no domain (WHATWG URL, 3.5)
        while dot < last:
            yield host[dot + 1 :]
            dot = host.find(".", dot + 1)
        if shape.top_labels:
            yield host[last + 1 :]
    if shape.depth < 0:
        return
    key = f"{front_host(parts)}/"
    yield key
    segments = path_segments(parts.path)
    for k, segment in enumerate(segments[: shape.depth]):
        key += f"/{segment}" if k else segment
        yield key
    if shape.queries and parts.query and len(segments) <= shape.depth:
        yield f"{key}?{parts.query.lower()}"


def front_host(parts: UrlParts) -> str:
    """The host without a leading `www.`, where a domain is left."""
    host = parts.host
    return host[4:] if host.startswith("www.") and "." in host[4:] else host


def path_segments(path: str) -> list[str]:
    """The segments of a path in lower case, none empty, dots resolved, percent-encoded only where needed."""
    segments: list[str] = []
    for written in path.split("/"):
        segment = written.lower() if written.isascii() else written
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            if not _SETTLED.fullmatch(segment):
                decoded = unquote_to_bytes(segment.encode("utf-8", "surrogatepass"))
                segment = quote(decoded.lower(), safe=_SEGMENT_SAFE).lower()
            segments.append(segment)
    return segments
