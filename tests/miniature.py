"""A miniature crawl for tests: a few dozen hand-written pages in two WARC files, packed as Common Crawl packs them.

`miniature_crawl(folder)` writes it; the same call gives the same bytes, on any machine. `write_warc(path, pages)` packs
pages of a test's own. The prose is written for this file, sentence by sentence: long enough and plain enough to pass
the Gopher, C4 and FineWeb rules, and no two articles share a sentence.
"""

import base64
import hashlib
import io
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

DEFAULT_DATE = "2024-05-18T09:00:00Z"


@dataclass(frozen=True)
class Page:
    """One HTTP response. `body` is what goes into the record, after any transfer or content coding the test applied."""

    url: str
    body: bytes
    status: int = 200
    reason: str = "OK"
    content_type: str | None = "text/html; charset=utf-8"
    date: str = DEFAULT_DATE
    http_headers: tuple[tuple[str, str], ...] = ()
    warc_headers: Mapping[str, str] = field(default_factory=dict)
    payload_digest: str | None = None
    """Overrides the true `WARC-Payload-Digest`; the empty string leaves the header out."""


@dataclass(frozen=True)
class Place:
    """Where a response record lies in its file: bytes [offset, offset + length) are the record, nothing else."""

    url: str
    offset: int
    length: int


def payload_digest(body: bytes) -> str:
    """`WARC-Payload-Digest` as Common Crawl writes it: sha1 in base 32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode("ascii")


def gzip_member(data: bytes) -> bytes:
    """One gzip member without time or name, so that equal data gives equal bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def warc_record(kind: str, headers: Mapping[str, str], block: bytes) -> bytes:
    """The bytes of one uncompressed WARC/1.0 record."""
    lines = ["WARC/1.0", f"WARC-Type: {kind}", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Length: {len(block)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + block + b"\r\n\r\n"


def record_id(*names: str) -> str:
    """A `WARC-Record-ID` that depends on the names alone."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, ' '.join(names))}>"


def response_record(page: Page, name: str = "") -> bytes:
    """The bytes of the uncompressed `response` record of a page; `name` keeps record ids of several files apart."""
    lines = [f"HTTP/1.1 {page.status} {page.reason}"]
    if page.content_type is not None:
        lines.append(f"Content-Type: {page.content_type}")
    lines += [f"{key}: {value}" for key, value in page.http_headers]
    lines.append(f"Content-Length: {len(page.body)}")
    block = "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + page.body
    headers = {
        "WARC-Date": page.date,
        "WARC-Record-ID": record_id("response", name, page.url, page.date),
        "Content-Type": "application/http; msgtype=response",
        "WARC-Concurrent-To": record_id("request", name, page.url, page.date),
        "WARC-IP-Address": "192.0.2.7",
        "WARC-Target-URI": page.url,
    }
    digest = payload_digest(page.body) if page.payload_digest is None else page.payload_digest
    if digest:
        headers["WARC-Payload-Digest"] = digest
    headers["WARC-Block-Digest"] = payload_digest(block)
    return warc_record("response", headers | dict(page.warc_headers), block)


def request_record(page: Page, name: str = "") -> bytes:
    """The bytes of the uncompressed `request` record of a page."""
    host, _, path = page.url.partition("://")[2].partition("/")
    block = f"GET /{path} HTTP/1.1\r\nUser-Agent: CCBot/2.0\r\nHost: {host}\r\n\r\n".encode()
    headers = {
        "WARC-Date": page.date,
        "WARC-Record-ID": record_id("request", name, page.url, page.date),
        "Content-Type": "application/http; msgtype=request",
        "WARC-Target-URI": page.url,
    }
    return warc_record("request", headers, block)


def metadata_record(page: Page, name: str = "") -> bytes:
    """The bytes of the uncompressed `metadata` record of a page."""
    headers = {
        "WARC-Date": page.date,
        "WARC-Record-ID": record_id("metadata", name, page.url, page.date),
        "WARC-Concurrent-To": record_id("response", name, page.url, page.date),
        "Content-Type": "application/warc-fields",
        "WARC-Target-URI": page.url,
    }
    return warc_record("metadata", headers, b"fetchTimeMs: 120\r\n")


def warcinfo_record(name: str) -> bytes:
    """The bytes of the uncompressed `warcinfo` record that opens a file."""
    headers = {
        "WARC-Date": DEFAULT_DATE,
        "WARC-Record-ID": record_id("warcinfo", name),
        "Content-Type": "application/warc-fields",
        "WARC-Filename": name,
    }
    return warc_record("warcinfo", headers, b"software: miniature\r\nformat: WARC File Format 1.0\r\n")


def write_warc(path: Path, pages: Iterable[Page]) -> list[Place]:
    """Write pages as warcinfo, then request, response and metadata a page; one gzip member a record for `.gz` names.

    Returns the place of every response record, in file order.
    """
    packed = path.name.endswith(".gz")
    out = io.BytesIO()
    places = []

    def put(record: bytes) -> tuple[int, int]:
        start = out.tell()
        out.write(gzip_member(record) if packed else record)
        return start, out.tell() - start

    put(warcinfo_record(path.name))
    for page in pages:
        put(request_record(page, path.name))
        places.append(Place(page.url, *put(response_record(page, path.name))))
        put(metadata_record(page, path.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue())
    return places


# --- The pages -------------------------------------------------------------------------------------------------------

Article = tuple[str, str, tuple[tuple[str, str], ...]]
"""Title, introduction, ((heading, paragraph), …)."""


def _articles(lang: str) -> dict[str, Article]:
    """The articles of one language from `miniature_articles.md`: `# lang name: title`, introduction, `## heading`, …"""
    source = (Path(__file__).parent / "miniature_articles.md").read_text(encoding="utf-8")
    articles = {}
    for block in source.split("\n# "):
        head, *sections = block.removeprefix("# ").split("\n## ")
        key, _, rest = head.partition(": ")
        title, _, introduction = rest.partition("\n\n")
        if key.split()[0] == lang:
            pairs = (section.partition("\n\n") for section in sections)
            articles[key.split()[1]] = (
                title,
                " ".join(introduction.split()),
                tuple((heading, " ".join(text.split())) for heading, _, text in pairs),
            )
    return articles


ENGLISH = _articles("en")
GERMAN = _articles("de")
RUSSIAN = _articles("ru")["hleb"]

NAVIGATION = '<nav><ul><li><a href="/">Home</a></li><li><a href="/all">All articles</a></li></ul></nav>'


def html_page(article: Article, lang: str = "en", head: str = "", site: str = "The Example Almanac") -> str:
    """A small web page around an article: navigation, headings, paragraphs, footer."""
    title, introduction, sections = article
    body = "".join(f"<h2>{heading}</h2>\n<p>{text}</p>\n" for heading, text in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="{lang}">\n<head><meta charset="utf-8">'
        f"<title>{title} | {site}</title>{head}</head>\n<body>\n"
        f"<header>{NAVIGATION}</header>\n<main><article>\n<h1>{title}</h1>\n<p>{introduction}</p>\n{body}"
        f"</article></main>\n<footer><p>{site}. All pages written for testing.</p></footer>\n</body>\n</html>\n"
    )


def _changed(article: Article, old: str, new: str) -> Article:
    """A near copy of an article: one phrase of it replaced."""
    title, introduction, sections = article
    whole = introduction + "".join(text for _, text in sections)
    if old not in whole:
        raise ValueError(f"no {old!r} in the article {title!r}")
    return (
        title,
        introduction.replace(old, new),
        tuple((heading, text.replace(old, new)) for heading, text in sections),
    )


def english_pages() -> list[Page]:
    """The plain English articles, one page each on three sites, in a fixed order."""
    hosts = ("almanac.example.com", "www.notebook.example.org", "reader.example.co.uk")
    return [
        Page(f"https://{hosts[k % len(hosts)]}/articles/{name}.html", html_page(article).encode())
        for k, (name, article) in enumerate(ENGLISH.items())
    ]


def odd_pages() -> list[Page]:
    """What a real crawl holds besides good prose: one or more pages of every kind the early stages must tell apart."""
    bread, honey, tides = ENGLISH["bread"], ENGLISH["honey"], ENGLISH["tides"]
    licence = '<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">'
    spam = "Buy cheap watches now! Best cheap watches online. Cheap watches cheap watches free shipping. " * 40
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
    contact = (
        "Whom to ask about the almanac",
        "The almanac is kept by a handful of people who answer letters in the evening, and they are glad to have them. "
        "Questions about the articles go to maria.keller@example.com and those about the printed edition to Mr Brandt.",
        (
            (
                "Corrections",
                "If you have found a mistake, please name the page and the sentence that you believe to be wrong. "
                "You can also call the office at (555) 010-4477 between nine and noon on any working day. "
                "The old server at 8.8.4.4 is still reachable, but it will be switched off at the end of the year.",
            ),
        ),
    )
    return [
        # The same article on another site, in another template: equal text, other payload.
        Page("https://mirror.example.net/bread", html_page(bread, site="A Mirror of Things").encode()),
        # The very same bytes under another address: a repeated payload.
        Page("https://almanac.example.com/articles/bread.html?print=1", html_page(bread).encode()),
        # Near copies: a phrase or two differ.
        Page(
            "https://mirror.example.net/honey",
            html_page(_changed(honey, "willows flower", "hazels flower")).encode(),
        ),
        Page(
            "https://copies.example.org/tides",
            html_page(_changed(tides, "nearly everybody", "almost everyone")).encode(),
        ),
        # The same address captured again a month later, slightly rewritten.
        Page(
            "https://almanac.example.com/articles/bread.html",
            html_page(_changed(bread, "every day", "every morning")).encode(),
            date="2024-06-20T10:30:00Z",
        ),
        *(
            Page(f"https://beispiel.example.de/{name}", html_page(article, lang="de").encode())
            for name, article in GERMAN.items()
        ),
        Page(
            "http://primer.example.ru/hleb",
            html_page(RUSSIAN, lang="ru").replace("utf-8", "windows-1251").encode("windows-1251"),
            content_type="text/html",
        ),
        # Declared UTF-8, written in Latin-1, with bytes that are neither.
        Page(
            "https://broken.example.com/charset",
            html_page(_changed(ENGLISH["tea"], "camellia", "cam\u00e9llia"))
            .encode("latin-1")
            .replace(b"hedge", b"h\xff\x81dge"),
        ),
        Page("https://short.example.com/", b"<html><body><p>Coming soon. Please come back later.</p></body></html>"),
        Page("https://empty.example.com/", b"<html><head><title>Nothing</title></head><body></body></html>"),
        Page("https://zero.example.com/", b""),
        Page(
            "https://watches.example.com/offers",
            f"<html><head><title>Cheap watches</title></head><body><p>{spam}</p></body></html>".encode(),
        ),
        Page(
            "https://private.example.com/noindex",
            html_page(ENGLISH["soap"], head='<meta name="robots" content="noindex, noai">', site="Private").encode(),
        ),
        Page("https://open.example.org/maps", html_page(ENGLISH["maps"], head=licence, site="Open").encode()),
        Page("https://almanac.example.com/contact", html_page(contact).encode()),
        Page(
            "https://almanac.example.com/moved",
            b"",
            status=301,
            reason="Moved Permanently",
            http_headers=(("Location", "/"),),
        ),
        Page(
            "https://almanac.example.com/gone",
            b"<html><body><h1>Not found</h1></body></html>",
            status=404,
            reason="Not Found",
        ),
        Page(
            "https://almanac.example.com/error",
            b"<html><body>Sorry</body></html>",
            status=500,
            reason="Internal Server Error",
        ),
        Page("https://almanac.example.com/logo.png", png, content_type="image/png"),
        Page("https://almanac.example.com/data.json", b'{"answer": 42}', content_type="application/json"),
    ]


def miniature_pages() -> tuple[list[Page], list[Page]]:
    """The pages of the two files: English articles and odd pages, dealt out so that duplicates cross the files too."""
    english, odd = english_pages(), odd_pages()
    first = english[:14] + odd[:14]
    second = english[14:] + odd[14:]
    # The same record in both files (equal url, date and payload), and an article recaptured under the same address.
    second.append(english[1])
    second.append(replace(english[2], date="2024-07-01T00:00:00Z"))
    return first, second


def miniature_crawl(folder: Path) -> Path:
    """Write the miniature crawl's two `.warc.gz` files into `folder` (made if missing) and return it."""
    folder = Path(folder)
    for k, pages in enumerate(miniature_pages()):
        write_warc(folder / f"CC-MINI-20240518090000-{k:05d}.warc.gz", pages)
    return folder
