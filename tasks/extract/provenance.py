"""Where a page comes from: its id, capture date, host and site.

doc_id   first 32 hex digits of sha256 over the UTF-8 bytes of `url LF date LF digest`, where `url` is
         WARC-Target-URI without angle brackets, `date` is WARC-Date as written and `digest` is `sha1:` + base 32 of
         the sha1 of the HTTP body as stored (as Common Crawl writes WARC-Payload-Digest; computed here, since the
         header may be missing or wrong).
"""

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

# Year alone up to fractions of a second (WARC 1.1, 5.4). Some writers leave out more than the standard allows.
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?Z?)?)?)?$")
_LEAST = (1, 1, 1, 0, 0, 0)
_SIMPLE_HOST = re.compile(r"https?://([a-z0-9\-.]+)(?:[/?#]|$)")  # most URLs: nothing to lower, split off or refuse


def doc_id(url: str, date: str, body_sha1: bytes) -> str:
    """The id of a document; see the top of this module for the exact bytes."""
    return hashlib.sha256(f"{url}\n{date}\nsha1:{_base32(body_sha1)}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def digest_fits(declared: str, sha1: bytes) -> bool | None:
    """Whether a labelled digest (`sha1:…`, WARC 1.1, 5.8) is this one; None: it is of another kind, or there is none.

    The value is base 32 as a rule; hexadecimal digits and base 64 are about, too.
    """
    algorithm, _, value = declared.strip().partition(":")
    value = value.strip()
    if algorithm.strip().lower() not in ("sha1", "sha-1") or not value:
        return None
    if len(value) == 2 * len(sha1):
        return value.lower() == sha1.hex()
    if value.endswith("="):
        return value == base64.b64encode(sha1).decode("ascii")
    return value.upper() == _base32(sha1)


@lru_cache(maxsize=4)  # asked for once for the id and once for the check
def _base32(digest: bytes) -> str:
    return base64.b32encode(digest).decode("ascii")


def parse_date(text: str) -> datetime | None:
    """A WARC-Date (W3C date-time, WARC 1.1, 5.4) in UTC; what is left out is its beginning. None: unreadable."""
    if len(text) == 20 and text[4] == text[7] == "-" and text[10] == "T" and text[19] == "Z":
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None
    found = _DATE.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (
        int(group or least) for group, least in zip(found.groups(), _LEAST, strict=False)
    )
    micros = int((found[7] or "0").ljust(6, "0")[:6])
    try:
        return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError:  # the 31st of June
        return None


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """Host name of a URL in lower case, without port and final dot; empty when there is none."""
    if simple := _SIMPLE_HOST.match(url):
        return simple[1].rstrip(".")
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # "http://[oops"
        return ""


@lru_cache(maxsize=4096)
def site_of(host: str) -> str:
    """Registered domain of a host by the public suffix list that tldextract ships (never the network).

    A host that is an address or a public suffix is its own site; under an unknown top-level domain it is the last two
    labels, as the list's default rule says.
    """
    found = _suffixes()(host)
    if found.top_domain_under_public_suffix:
        return str(found.top_domain_under_public_suffix)
    if found.suffix or not found.subdomain:
        return host
    return f"{found.subdomain.rpartition('.')[2]}.{found.domain}"


@lru_cache(maxsize=1)
def _suffixes() -> Any:
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
