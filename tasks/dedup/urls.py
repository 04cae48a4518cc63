"""The canonical form of a URL: one string for the addresses that mean the same page.

It decides `url` duplicates and the side of the train/validation/test split (`infra/split.py`), so two spellings of
one page must not differ in it. It follows RFC 3986 section 6.2 (case, percent-encoding, path segments, default ports)
and drops what on the web hardly ever selects another page: the scheme, a leading `www.`, user names, fragments,
directory index files, a trailing slash, the order of query parameters, and parameters that only track visits.
The time of capture is no part of it: a page that is crawled again keeps its canonical URL.
"""

import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

# Parameters that say where a visitor came from, not what is shown. Names as in the public lists that browsers use
# (ClearURLs, Firefox query stripping); a prefix ends with "_".
TRACKING_PARAMETERS = frozenset(
    {
        "_hsenc",
        "_hsmi",
        "_openstat",
        "aspsessionid",
        "dclid",
        "fbclid",
        "gclid",
        "gclsrc",
        "igshid",
        "jsessionid",
        "mc_cid",
        "mc_eid",
        "mkt_tok",
        "msclkid",
        "oly_anon_id",
        "oly_enc_id",
        "phpsessid",
        "sessionid",
        "ttclid",
        "twclid",
        "vero_id",
        "wickedid",
        "yclid",
    }
)
TRACKING_PREFIXES = ("utm_", "hsa_", "pk_", "piwik_", "matomo_")

INDEX_FILE = re.compile(r"^(?:index|default)\.(?:html?|xhtml|php\d?|aspx?|jsp|cgi)$", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21}
MAX_LABEL_CHARS = 253  # a whole name has no more; the encoding of other scripts takes quadratic time
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # what IDNA takes for one (RFC 3490, 3.1)
# A path parameter that Java servers append to the path: /page;jsessionid=0123
_PATH_SESSION = re.compile(r";(?:jsessionid|phpsessid)=[^/;]*", re.IGNORECASE)
# What RFC 3986 allows unescaped in a path segment and in a query, beyond letters, digits and "-._~".
_PATH_SAFE = "!$&'()*+,;=:@"
_QUERY_SAFE = "!$'()*,;:@/?"


def canonical_url(url: str) -> str:
    """`host[:port]/path[?query]` of a URL; a string that is no URL comes back stripped, so equal inputs stay equal.

    >>> canonical_url("HTTP://www.Example.org:80/a/../b/index.html?utm_source=x&q=1#top")
    'example.org/b?q=1'
    """
    stripped = url.strip()
    try:
        parts = urlsplit(stripped)
        host, port = parts.hostname, parts.port
    except ValueError:  # unbalanced brackets, a port that is no number
        return stripped
    if not host:
        return stripped
    authority = _host(host)
    if port is not None and port != DEFAULT_PORTS.get(parts.scheme.lower()):
        authority += f":{port}"
    query = _query(parts.query)
    return authority + _path(parts.path) + (f"?{query}" if query else "")


def _host(host: str) -> str:
    name = host.lower().rstrip(".")
    if not name.isascii():
        try:
            if max(map(len, _DOTS.split(name))) > MAX_LABEL_CHARS:
                raise UnicodeError("label too long")
            name = name.encode("idna").decode("ascii")
        except UnicodeError:  # no registrable name, but still a name of its own
            name = quote(name)
    return name.removeprefix("www.") if name.count(".") > 1 else name


def _path(path: str) -> str:
    segments: list[str] = []
    for segment in _PATH_SESSION.sub("", path).split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(_encode(segment, _PATH_SAFE))
    if segments and INDEX_FILE.match(segments[-1]):
        segments.pop()
    return "".join(f"/{segment}" for segment in segments) or "/"


def _query(query: str) -> str:
    kept = []
    for parameter in query.split("&"):
        name = parameter.partition("=")[0].lower()
        if parameter and name not in TRACKING_PARAMETERS and not name.startswith(TRACKING_PREFIXES):
            kept.append("=".join(_encode(piece, _QUERY_SAFE) for piece in parameter.replace("+", "%20").split("=")))
    return "&".join(sorted(kept))


def _encode(piece: str, safe: str) -> str:
    """Percent-encoding in its one normal form: only where needed, hex digits in capitals."""
    return quote(unquote_to_bytes(piece.encode("utf-8", "surrogatepass")), safe=safe)
