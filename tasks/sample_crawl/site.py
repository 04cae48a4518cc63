"""The sample web: pages with navigation around them, several versions, redirects, missing pages, pictures.

`http://docs.sample/<distribution>/<version>/<page>.html`. Three layouts are in use, one a distribution, as the web has
more than one documentation generator. Which pages exist twice, have moved or are missing follows from a hash of their
address, so a page keeps its fate when others are added.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice

from tasks.sample_crawl import markdown
from tasks.sample_crawl.blocks import first_sentence, prose_words
from tasks.sample_crawl.docmarkup import parse as parse_docstring
from tasks.sample_crawl.docstrings import read_module
from tasks.sample_crawl.pages import Entry, Page, article, examples_page, gather, make_entry, paginate
from tasks.sample_crawl.sources import SourceTree
from tasks.sample_crawl.warc import Capture

HOST = "http://docs.sample"

# Of how many documentation pages one also exists ...
ARCHIVED_ONE_IN = 14  # ... in an archived version (a near-duplicate)
QUERY_ONE_IN = 70  # ... under an address with a query string (the same bytes)
RECAPTURED_ONE_IN = 90  # ... fetched again later, with a new footer (the same address)
MOVED_ONE_IN = 45  # ... under an old address that redirects
MISSING_ONE_IN = 60  # ... with a dead link beside it (404)

# A README or licence of fewer words is not worth a page.
_MIN_TEXT_WORDS = 40
_LICENCE_PAGE_BLOCKS = 60
_MAX_LICENCE_PAGES = 3
_MAX_LICENCES = 12  # a distribution's own and its larger vendored ones
_SIBLINGS = 12  # neighbours listed in the navigation, each side
_LICENCE_URLS = {name: f"https://spdx.org/licenses/{name}.html" for name in (
    "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "ISC", "0BSD", "MPL-2.0", "Unlicense",
)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Book:
    """The documentation of one distribution."""

    name: str
    version: str
    licence: str
    theme: int
    pages: tuple[Page, ...]
    modules: int  # read, with documentation
    too_short: int  # modules left out for lack of prose


def make_book(tree: SourceTree, min_words: int, max_pages: int | None) -> Book:
    """Read a distribution and lay it out; with `max_pages`, modules are taken in hashed order until it is reached."""
    files = list(tree.modules())
    if max_pages is not None:
        files.sort(key=lambda item: hashlib.sha256(item[0].encode()).digest())
    pages: list[Page] = list(_text_pages(tree))
    short: list[Entry] = []
    contents: list[Entry] = []
    for dotted, path in files:
        if max_pages is not None and len(pages) >= max_pages:
            break
        module = read_module(path.read_bytes(), dotted)
        if module is None:
            continue
        entry = make_entry(module)
        contents.append(entry)
        if entry.total < min_words:
            short.append(entry)
            continue
        pages.extend(paginate(entry))
        if examples := examples_page(entry):
            pages.append(examples)
    shared, dropped = gather(short, min_words)
    pages.extend(shared)
    if contents:
        contents.sort(key=lambda entry: entry.item.path)
        blocks = tuple(contents)
        pages.insert(0, Page("index", "index", f"{tree.name} {tree.version} documentation", "", contents=blocks))
    theme = hashlib.sha256(tree.name.encode()).digest()[0] % len(_THEMES)
    kept = tuple(pages if max_pages is None else pages[:max_pages])
    return Book(tree.name, tree.version, tree.licence_id(), theme, kept, len(contents), dropped)


def captures(book: Book) -> Iterator[Capture]:
    """Everything that a crawler finds at one book: its pages in their versions, redirects, errors and pictures."""
    base = f"{HOST}/{book.name}"
    for index, page in enumerate(book.pages):
        url = f"{base}/stable/{page.name}.html"
        fate = int.from_bytes(hashlib.sha256(url.encode()).digest()[:8], "big")
        html = _page_html(book, index, "stable")
        yield Capture(page.kind, url, html)
        if page.kind == "index":
            yield _redirect("redirect", f"{base}/", f"{base}/stable/index.html", 302)
            yield Capture("image", f"{base}/_static/logo.png", _logo(book.name), "image/png", "image/png", "binary")
            continue
        if fate % ARCHIVED_ONE_IN == 0:
            yield Capture("archived", f"{base}/archive/{page.name}.html", _page_html(book, index, "archive"))
        if fate % QUERY_ONE_IN == 1:
            yield Capture("query", f"{url}?highlight={page.title.rpartition('.')[2].split(',')[0]}", html)
        if fate % RECAPTURED_ONE_IN == 2:
            yield Capture(
                "recaptured", url, _page_html(book, index, "stable", note="This page was checked again."), attempt=1
            )
        if fate % MOVED_ONE_IN == 3:
            yield _redirect("redirect", f"{base}/{page.name.replace('.', '/')}", url, 301)
        if fate % MISSING_ONE_IN == 4:
            yield Capture("missing", f"{base}/dev/{page.name}.html", _missing_html(book, page), status=404)


def _text_pages(tree: SourceTree) -> Iterator[Page]:
    """The README and the licence texts of a distribution."""
    text, kind = tree.readme()
    blocks = markdown.parse(text) if "markdown" in kind else parse_docstring(text)
    if prose_words(blocks) >= _MIN_TEXT_WORDS:
        yield Page("readme", "readme", f"{tree.name} {tree.version}", "", extra=(("", tuple(blocks)),))
    for path, text in islice(tree.licences(), _MAX_LICENCES):
        blocks = markdown.parse_plain(text)
        if prose_words(blocks) < _MIN_TEXT_WORDS:
            continue
        for number in range(min(_MAX_LICENCE_PAGES, -(-len(blocks) // _LICENCE_PAGE_BLOCKS))):
            part = tuple(blocks[number * _LICENCE_PAGE_BLOCKS : (number + 1) * _LICENCE_PAGE_BLOCKS])
            name = "licence." + "-".join(path.replace("_", "-").split("/")) + (f"-{number + 1}" if number else "")
            title = f"{path.rpartition('/')[2]} of {tree.name}" + (f", part {number + 1}" if number else "")
            yield Page("licence", name, title, "", extra=(("", part),))


def _page_html(book: Book, index: int, version: str, note: str = "") -> bytes:
    page = book.pages[index]
    body = article(page, archived=version == "archive")
    neighbours = book.pages[max(0, index - _SIBLINGS) : index + _SIBLINGS + 1]
    links = "\n".join(
        f'<li><a href="/{book.name}/{version}/{escape(other.name)}.html">{escape(other.title)}</a></li>'
        for other in neighbours
    )
    crumbs = [f'<a href="/{book.name}/{version}/index.html">{book.name}</a>']
    crumbs += (
        [f'<a href="/{book.name}/{version}/{escape(page.parent)}.html">{escape(page.parent)}</a>']
        if page.parent
        else []
    )
    crumbs.append(escape(page.title))
    banner = (
        f'<div class="version-banner">This is an archived version of {book.name}. '
        f'<a href="/{book.name}/stable/{escape(page.name)}.html">See the stable one</a></div>'
        if version == "archive"
        else ""
    )
    licence = f'<a rel="license" href="{url}">{book.licence}</a> · ' if (url := _LICENCE_URLS.get(book.licence)) else ""
    footer = f"{licence}{book.name} {book.version} · Generated from the installed package. {note}".rstrip()
    title = f"{page.title} — {book.name} {book.version} documentation" if page.kind != "index" else page.title
    summary = first_sentence(page.sections[0][0].blocks) if page.sections else ""
    described = f'<meta name="description" content="{escape(summary)}">\n' if summary else ""
    canonical = f'{described}<link rel="canonical" href="{HOST}/{book.name}/stable/{escape(page.name)}.html">'
    html = _THEMES[book.theme].format(
        title=escape(title), canonical=canonical, name=book.name, version=version, crumbs=" » ".join(crumbs),
        banner=banner,
        links=links, body=body, footer=footer,
    )  # fmt: skip
    return html.encode("utf-8")


def _missing_html(book: Book, page: Page) -> bytes:
    html = (
        f"<!DOCTYPE html>\n<html lang=\"en\"><head><title>Page not found — {book.name}</title></head><body>\n"
        f"<h1>Page not found</h1>\n<p>The development version of {book.name} has no page {escape(page.name)}.</p>\n"
        f'<p><a href="/{book.name}/stable/index.html">Go to the stable version</a></p>\n</body></html>\n'
    )  # fmt: skip
    return html.encode("utf-8")


def _redirect(kind: str, url: str, target: str, status: int) -> Capture:
    body = (
        f"<html>\r\n<head><title>{status} Moved</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} Moved</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Capture(
        kind, url, body.encode(), "text/html", charset="US-ASCII", status=status, headers=(("Location", target),)
    )


def _logo(name: str) -> bytes:
    """A 32 x 32 PNG in a colour of the distribution's own (PNG specification, 5.3 and 11.2)."""
    colour = hashlib.sha256(name.encode()).digest()[:3]
    rows = b"".join(b"\0" + b"".join(colour if (x ^ y) & 8 else b"\xff\xff\xff" for x in range(32)) for y in range(32))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>{title}</title>
{canonical}
<link rel="stylesheet" href="/_static/style.css">
<script>document.documentElement.className = "js";</script>
</head>
"""

_THEMES = (
    # A sidebar beside the body, as most Python projects have it.
    _HEAD
    + """<body>
<div class="related" role="navigation" aria-label="Related"><h3>Navigation</h3>
<ul><li class="right"><a href="/{name}/{version}/genindex.html">index</a></li>
<li class="right"><a href="/{name}/{version}/py-modindex.html">modules</a> |</li>
<li class="nav-item">{crumbs}</li></ul></div>
{banner}
<div class="document"><div class="documentwrapper"><div class="bodywrapper">
<div class="body" role="main">
<section>
{body}
</section>
</div></div></div>
<div class="sphinxsidebar" role="navigation" aria-label="Main"><div class="sphinxsidebarwrapper">
<h3>Contents of this manual</h3>
<ul>
{links}
</ul>
<div id="searchbox" role="search"><h3>Quick search</h3>
<form class="search" action="search.html"><input type="text" name="q"><input type="submit" value="Go"></form></div>
</div></div>
</div>
<div class="footer" role="contentinfo">{footer}</div>
</body>
</html>
""",
    # A header, a main element with an article, a footer.
    _HEAD
    + """<body class="md">
<header class="md-header"><nav class="md-header__inner">
<a class="md-logo" href="/{name}/"><img src="/{name}/_static/logo.png" alt="logo"></a>
<span class="md-ellipsis">{name}</span><form class="md-search"><input placeholder="Search"></form></nav></header>
{banner}
<div class="md-container">
<nav class="md-nav" aria-label="Navigation"><ul class="md-nav__list">
{links}
</ul></nav>
<main class="md-main"><nav class="md-path" aria-label="Breadcrumbs">{crumbs}</nav>
<article class="md-content__inner">
{body}
</article></main>
</div>
<footer class="md-footer"><div class="md-copyright">{footer}</div><a href="#" class="md-top">Back to top</a></footer>
</body>
</html>
""",
    # Hand-made pages of an older web: plain divisions and rules.
    """<html>
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8">
<title>{title}</title>
{canonical}
</head>
<body bgcolor="#ffffff">
<div id="header"><a href="/{name}/"><b>{name}</b></a> |
<a href="/{name}/{version}/index.html">contents</a> | <a href="/search.cgi">search</a></div>
<div id="breadcrumbs"><small>{crumbs}</small></div>
{banner}
<hr>
<div id="content">
{body}
</div>
<hr>
<div id="menu"><b>Nearby pages</b>
<ul>
{links}
</ul></div>
<div id="footer"><small>{footer}</small></div>
</body>
</html>
""",
)
