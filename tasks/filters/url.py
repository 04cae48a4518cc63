"""Signals of a page's address, and the verdict on it: host, site, words, lists.

An address is read once into a normal form (`split_url`), the same for pages and for the entries of lists
(tasks/url_lists), so that neither capitals nor percent-encoding, a port, a user name or a final dot hides anything. The
words are those of `url_words.txt`: some are enough by themselves (hard), of others it takes two (soft), and some are
looked for in the address with everything but letters and digits taken out (subwords), after RefinedWeb's URL filter
(Penedo et al. 2023, arXiv:2306.01116, appendix G.1). Addresses are lower-cased before: a word in capitals counts.

Signals are counts and names, decided on by rules; `url_verdict` is the same decision for whoever needs it before there
is a signal: the gate of `extract`.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa

from tasks.extract.provenance import site_of

if TYPE_CHECKING:
    from tasks.url_lists.lists import UrlLists

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("url_chars", pa.int32()),  # code points of the whole address
    pa.field("url_host", pa.string()),  # normalised as `split_url` says
    pa.field("url_host_labels", pa.int32()),  # 1 for an IP address
    pa.field("url_top_label", pa.string()),  # null for an IP address
    pa.field("url_host_is_ip", pa.bool_()),
    pa.field("url_path_depth", pa.int32()),  # segments of the path that are not empty
    pa.field("url_query_chars", pa.int32()),
    pa.field("url_site", pa.string()),  # the registered domain
    pa.field("url_subdomain", pa.string()),  # what the host has before it; "" for none
    pa.field("url_hard_words", pa.int32()),  # different ones
    pa.field("url_soft_words", pa.int32()),
    pa.field("url_subwords", pa.int32()),
    pa.field("url_list", pa.string()),  # the list that names the address, null for none
)

MAX_HOST_CHARS = 253  # of a name that the DNS can hold (RFC 1035, 2.3.4)
MIN_SOFT_WORDS = 2  # RefinedWeb, appendix G.1; FineWeb and DCLM likewise
WORDS_FILE = Path(__file__).with_name("url_words.txt")

_TOKEN = re.compile(r"[^\W_]+")
# inet_aton(3): one to four numbers, decimal, octal or hexadecimal. Browsers take all of these for an address.
_NUMERIC_HOST = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")


class UrlParts(NamedTuple):
    """An address in its normal form; see `split_url`."""

    host: str
    is_ip: bool
    path: str
    query: str


class UrlVerdict(NamedTuple):
    """Why an address is turned away."""

    reason: str
    detail: str


@lru_cache(maxsize=1024)
def split_url(url: str) -> UrlParts | None:
    """Host, path and query of an address; None where there is no readable host.

    The host is lower case, without user name, port, final dot and percent-encoding; other scripts in ASCII
    ("xn--…", UTS 46), IP addresses in their one shortest form ("http://0x7f.1" is 127.0.0.1). Path and query are as
    they were.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
    except ValueError:  # an unbalanced bracket, for one: urlsplit refuses what a crawler may still have fetched
        return None
    host = unquote(host).strip().rstrip(".").lower() if "%" in host else host.rstrip(".")
    if not host:
        return None
    if not host.isascii():
        host = ascii_host(host)
    address = _ip_address(host)
    return UrlParts(address or host, address is not None, parts.path, parts.query)


def ascii_host(host: str) -> str:
    """A host name of other scripts in ASCII: UTS 46, as browsers do; where that refuses, label by label (RFC 3492).

    What is longer than a host name can be is percent-encoded: RFC 3492's encoding takes quadratic time.
    """
    import idna

    if len(host) > MAX_HOST_CHARS:
        return quote(host.lower(), errors="surrogatepass")
    try:
        return idna.encode(host, uts46=True).decode("ascii").rstrip(".")
    except idna.IDNAError:  # an emoji, a label too long: no name that can be registered, but one that may have been met
        labels = host.lower().replace("。", ".").split(".")
        return ".".join(x if x.isascii() else "xn--" + x.encode("punycode").decode("ascii") for x in labels)


def _ip_address(host: str) -> str | None:
    if ":" in host:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            return None
    if (host[-1].isdigit() or "0x" in host) and _NUMERIC_HOST.fullmatch(host):
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:  # 256.0.0.1
            return None
    return None


# --- Words -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UrlWords:
    """Words to look for in addresses, lower case; what the three kinds mean says `url_words.txt`."""

    hard: frozenset[str]
    soft: frozenset[str]
    subwords: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "UrlWords":
        """Read the form of `url_words.txt`: sections `[hard]`, `[soft]`, `[subword]`, one word a line, # for comments.

        Raises:
            ValueError: another section, or a word that the address, lower-cased and split, could never hold.
        """
        sections: dict[str, list[str]] = {"hard": [], "soft": [], "subword": []}
        words: list[str] | None = None
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                words = sections.get(line.strip("[]"))
            elif line and not line.startswith("#"):
                if words is None or line != line.lower() or not _TOKEN.fullmatch(line):
                    raise ValueError(f"{line!r}: one lower-case word a line, under [hard], [soft] or [subword]")
                words.append(line)
        return cls(frozenset(sections["hard"]), frozenset(sections["soft"]), tuple(sorted(set(sections["subword"]))))


@lru_cache(maxsize=1)
def builtin_words() -> UrlWords:
    """The words of `url_words.txt`."""
    return UrlWords.parse(WORDS_FILE.read_text(encoding="utf-8"))


class WordHits(NamedTuple):
    """The different words found, each kind in alphabetical order."""

    hard: list[str]
    soft: list[str]
    subwords: list[str]


def url_tokens(url: str) -> list[str]:
    """The words of an address: runs of letters and digits, percent-encoding undone, lower-cased."""
    return _TOKEN.findall((unquote(url) if "%" in url else url).lower())


def word_hits(url: str, words: UrlWords | None = None) -> WordHits:
    """Which words an address holds. All of it counts: host, path, query, and the scheme too, which is no word here."""
    words = words or builtin_words()
    tokens = url_tokens(url)
    distinct = set(tokens)
    joined = "".join(tokens)
    return WordHits(
        sorted(distinct & words.hard),
        sorted(distinct & words.soft),
        [word for word in words.subwords if word in joined],
    )


# --- Signals and verdict ---------------------------------------------------------------------------------------------


def url_signals(url: str | None, lists: "UrlLists | None" = None, words: UrlWords | None = None) -> dict[str, Any]:
    """The signals of one address, by the names in `SIGNALS`; all None when there is none or it has no host.

    Args:
        lists: what `url_list` asks; without it `url_list` is None.
        words: what the word counts ask; None: `builtin_words()`.
    """
    parts = split_url(url) if url else None
    if url is None or parts is None:
        return dict.fromkeys(field.name for field in SIGNALS)
    host, is_ip, path, query = parts
    labels = host.split(".")
    site = site_of(host)
    hits = word_hits(url, words)
    return {
        "url_chars": len(url),
        "url_host": host,
        "url_host_labels": 1 if is_ip else len(labels),
        "url_top_label": None if is_ip else labels[-1],
        "url_host_is_ip": is_ip,
        "url_path_depth": sum(1 for segment in path.split("/") if segment),
        "url_query_chars": len(query),
        "url_site": site,
        "url_subdomain": host.removesuffix(site).rstrip("."),
        "url_hard_words": len(hits.hard),
        "url_soft_words": len(hits.soft),
        "url_subwords": len(hits.subwords),
        "url_list": lists.find(url) if lists else None,
    }


def url_verdict(
    url: str,
    *lists: "UrlLists",
    words: UrlWords | None = None,
    use_words: bool = True,
) -> UrlVerdict | None:
    """Why a page need not be looked at, by its address alone; None: it may be.

    Args:
        lists: lists of domains and addresses, asked in this order before the words.
        words: None: `builtin_words()`.
        use_words: False asks the lists only.

    Returns:
        The first that holds: `url_list` (detail "list: entry"), `url_hard_word`, `url_soft_words` (two or more
        different ones), `url_subword` (detail: the words).
    """
    for one in lists:
        match = one.match(url)
        if match is not None:
            return UrlVerdict("url_list", f"{match.list}: {match.entry}")
    if use_words:
        hits = word_hits(url, words)
        if hits.hard:
            return UrlVerdict("url_hard_word", ", ".join(hits.hard))
        if len(hits.soft) >= MIN_SOFT_WORDS:
            return UrlVerdict("url_soft_words", ", ".join(hits.soft))
        if hits.subwords:
            return UrlVerdict("url_subword", ", ".join(hits.subwords))
    return None
