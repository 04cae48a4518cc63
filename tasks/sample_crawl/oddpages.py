"""Pages that a documentation web lacks and every real crawl has: hand-written, odd, some of them broken on purpose.

Each is here because some stage of curation has to survive it, notice it or decide about it. The kinds (`spam`,
`charset`, `markup` ...) are counted in the summary of the crawl.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tasks.sample_crawl.oddtexts import odd_texts
from tasks.sample_crawl.warc import Capture

_WORLD = "http://world.sample"
_ODD = "http://odd.sample"
_SHOP = "http://shop.sample"

_HUGE_TABLE_ROWS = 3000
_DEEP_LEVELS = 600


def _prose() -> tuple[str, ...]:
    """Ordinary paragraphs, for pages whose oddity lies elsewhere."""
    return odd_texts().english[0].paragraphs


def captures() -> Iterator[Capture]:
    """All odd pages, in a fixed order."""
    yield from _ordinary()
    yield from _foreign()
    yield from _spam()
    yield from _charsets()
    yield from _markup()
    yield from _content()
    yield from _declarations()
    yield from _other_types()
    yield from _http()


def _page(title: str, body: str, language: str = "en", head: str = "") -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<title>{escape(title)}</title>\n{head}</head>\n'
        f'<body>\n<nav><a href="/">Home</a> | <a href="/about">About</a></nav>\n<main>\n<article>\n'
        f"<h1>{escape(title)}</h1>\n{body}\n</article>\n</main>\n<footer><p>A page of the sample crawl</p></footer>\n"
        "</body>\n</html>\n"
    )


def _paragraphs(texts: tuple[str, ...]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def _odd(kind: str, name: str, html: str) -> Capture:
    return Capture(kind, f"{_ODD}/{name}", html.encode("utf-8"))


def _ordinary() -> Iterator[Capture]:
    for page in odd_texts().english:
        yield Capture("article", f"{_WORLD}{page.path}", _page(page.title, _paragraphs(page.paragraphs)).encode())
    yield Capture(
        "personal-data",
        f"{_WORLD}/club/members",
        _page("Members of the club", _paragraphs(odd_texts().personal)).encode(),
    )


def _foreign() -> Iterator[Capture]:
    for number, page in enumerate(odd_texts().foreign):
        meta = f'<meta charset="{page.charset}">\n'
        html = _page(page.title, _paragraphs(page.paragraphs), page.language, meta)
        # Every other page is declared in the HTTP header, the rest only in the page itself.
        declared = f"text/html; charset={page.charset}" if number % 2 else "text/html"
        url = f"{_WORLD}/{page.language.lower()}/{page.charset}.html"
        yield Capture(
            "foreign", url, html.encode(page.charset, "xmlcharrefreplace"), declared, charset=page.charset.upper()
        )


def _spam() -> Iterator[Capture]:
    prose = _prose()
    offers = "Buy cheap watches online. Best cheap watches for sale. Cheap watches free shipping. "
    yield Capture("spam", f"{_SHOP}/cheap-watches", _page("Cheap watches", f"<p>{offers * 40}</p>").encode())
    towns = (
        "Arden",
        "Birch",
        "Calder",
        "Dunmore",
        "Elm",
        "Fairlee",
        "Glen",
        "Harrow",
        "Islet",
        "Juniper",
        "Kirk",
        "Linden",
    )
    for town in towns[:4]:  # doorway pages: one text, another town
        text = (
            f"Looking for the best plumber in {town}? Our plumbers in {town} are the most trusted plumbers in {town}. "
            f"Call the {town} plumber hotline today and ask for a free quote from a {town} plumber near you."
        )
        yield Capture(
            "spam", f"{_SHOP}/plumber-{town.lower()}", _page(f"Plumber {town}", f"<p>{text}</p>" * 3).encode()
        )
    links = "\n".join(
        f'<li><a href="/plumber-{a.lower()}-{b.lower()}">Plumber {a} {b}</a></li>' for a in towns for b in towns
    )
    yield Capture("spam", f"{_SHOP}/directory", _page("Directory", f"<ul>{links}</ul>").encode())
    hidden = f'<div style="display:none">{"casino poker bonus " * 200}</div>{_paragraphs(prose[:1])}'
    yield Capture("spam", f"{_SHOP}/hidden-words", _page("Welcome", hidden).encode())
    prices = "\n".join(f"<p>Item {n}: only $ {n}.99!!! Order now >>></p>" for n in range(1, 80))
    yield Capture("spam", f"{_SHOP}/price-list", _page("Price list", prices).encode())


def _charsets() -> Iterator[Capture]:
    prose = _prose()
    foreign = odd_texts().foreign
    german, greek = foreign[0], next(page for page in foreign if page.language == "el")
    html = _page(german.title, _paragraphs(german.paragraphs), "de", '<meta charset="iso-8859-1">\n')
    yield Capture(
        "charset", f"{_ODD}/declared-latin-1-sent-utf-8", html.encode("utf-8"), "text/html; charset=iso-8859-1"
    )
    html = _page(german.title, _paragraphs(german.paragraphs), "de")
    yield Capture(
        "charset", f"{_ODD}/undeclared-latin-1", html.encode("latin-1", "replace"), "text/html", charset="ISO-8859-1"
    )
    html = _page(greek.title, _paragraphs(greek.paragraphs), "el")
    body = html.encode("utf-16")  # with a byte order mark, which wins over everything
    yield Capture("charset", f"{_ODD}/utf-16-with-mark", body, "text/html", charset="UTF-16LE")
    moji = html.encode("utf-8").decode("latin-1").encode("utf-8")
    yield Capture("charset", f"{_ODD}/encoded-twice", moji)
    yield Capture("charset", f"{_ODD}/unknown-charset", html.encode("utf-8"), "text/html; charset=x-klingon")
    broken = _page("Half a character", _paragraphs(prose)).encode().replace(b"rain", b"r\xc3\x28\xffin")
    yield Capture("charset", f"{_ODD}/invalid-utf-8", broken)
    zeros = _page("Zeros", _paragraphs(prose)).encode().replace(b" the ", b" \x00the\x00 ")
    yield Capture("charset", f"{_ODD}/null-bytes", zeros)
    mixed = _page("Entities", "<p>" + "".join(f"&#{ord(char)};" for char in prose[0]) + "&#0;&#1114112;&bogus;</p>")
    yield _odd("charset", "entities-only", mixed)


def _markup() -> Iterator[Capture]:
    prose = _prose()
    yield _odd(
        "markup", "unclosed", f"<html><body><div><p><b>Unclosed<p>{'<p><i>'.join(prose)}<table><tr><td>and a cell"
    )
    yield _odd("markup", "no-html-element", _paragraphs(prose))
    yield _odd("markup", "plain-text-as-html", "\n\n".join(prose))
    yield _odd("markup", "two-bodies", f"<html><body><p>{prose[0]}</p></body><body><p>{prose[1]}</p></body></html>")
    yield _odd(
        "markup",
        "script-with-tags",
        _page("A script", f'<script>var x = "<p>not text</p></div>";</script>{_paragraphs(prose)}'),
    )
    yield _odd("markup", "comment-never-closed", _page("A comment", f"{_paragraphs(prose[:1])}<!-- {prose[1]}"))
    deep = "<div>" * _DEEP_LEVELS + _paragraphs(prose) + "</div>" * _DEEP_LEVELS
    yield _odd("markup", "nested-600-deep", _page("Deep", deep))
    too_deep = "<span>" * (3 * _DEEP_LEVELS) + prose[0] + "</span>" * (3 * _DEEP_LEVELS)
    yield _odd("markup", "nested-1800-deep", _page("Deeper", f"<p>{too_deep}</p>"))
    cells = "".join(
        f"<tr><td>{n}</td><td>Sample {n}</td><td>{n * n % 97}</td><td>measured at station {n % 12}</td></tr>\n"
        for n in range(_HUGE_TABLE_ROWS)
    )
    yield _odd("markup", "huge-table", _page("All measurements", f"<table>\n{cells}</table>"))
    yield _odd(
        "markup",
        "colspan",
        _page("A wide cell", f'<table><tr><td colspan="9007199254740993">{prose[0]}</td></tr></table>'),
    )
    yield _odd(
        "markup",
        "layout-tables",
        f"<table><tr><td><table><tr><td>{'</td></tr><tr><td>'.join(prose)}</td></tr></table></td></tr></table>",
    )
    yield _odd(
        "markup",
        "frames",
        '<html><frameset cols="20%,80%"><frame src="menu.html"><frame src="body.html"></frameset></html>',
    )
    xhtml = '<?xml version="1.0" encoding="UTF-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Strict</title></head><body>'
    yield Capture(
        "markup",
        f"{_ODD}/xhtml",
        f"{xhtml}{_paragraphs(prose)}</body></html>".encode(),
        "application/xhtml+xml",
        "application/xhtml+xml",
    )
    yield _odd(
        "markup",
        "meta-refresh",
        '<html><head><meta http-equiv="refresh" content="0; url=/elsewhere"></head><body></body></html>',
    )
    yield _odd("markup", "one-long-line", _page("One line", "<p>" + " ".join(prose) * 20 + "</p>").replace("\n", " "))
    yield _odd(
        "markup",
        "attributes",
        f"<html><body {' '.join(f'data-{n}={n}' for n in range(2000))}>{_paragraphs(prose)}</body></html>",
    )


def _content() -> Iterator[Capture]:
    prose = _prose()
    lorem = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore. "
    yield _odd("content", "lorem-ipsum", _page("Coming soon", f"<p>{lorem * 8}</p>"))
    yield _odd("content", "all-capitals", _page("IMPORTANT", _paragraphs(tuple(text.upper() for text in prose))))
    yield _odd(
        "content",
        "teasers",
        _page("Latest", "".join(f"<p>{' '.join(text.split()[:n])} ...</p>" for text in prose for n in (9, 14, 19))),
    )
    yield _odd("content", "numbers", _page("Readings", "<p>" + " ".join(str(n * n) for n in range(400)) + "</p>"))
    yield _odd(
        "content",
        "bullets",
        _page("Checklist", "<ul>" + "".join(f"<li>Check part {n} of the engine</li>" for n in range(60)) + "</ul>"),
    )
    poem = "<br>".join(f"A short line {word}" for text in prose for word in text.split()[:20])
    yield _odd("content", "short-lines", _page("Lines", f"<p>{poem}</p>"))
    yield _odd("content", "one-word", _page("Hm", "<p>Hm.</p>"))
    yield _odd(
        "content",
        "login",
        _page(
            "Sign in", '<form><input name="user"><input name="password" type="password"><button>Sign in</button></form>'
        ),
    )
    yield _odd(
        "content",
        "cookies-and-script",
        _page("Please enable JavaScript", "<p>This site uses cookies. Please enable JavaScript to continue.</p>"),
    )
    yield _odd("content", "repeated-paragraph", _page("Again", _paragraphs(prose[:1]) * 12))
    yield _odd("content", "emoji", _page("Party 🎉", "<p>" + "🎉🎈 See you there! " * 30 + "</p>"))
    invisible = "\u200b".join(prose[0]) + " \u202e" + prose[1] + "\u202c \ufeff"
    yield _odd("content", "invisible-characters", _page("Invisible", f"<p>{invisible}</p>"))
    yield _odd("content", "long-word", _page("Token", "<p>" + "a1b2c3d4" * 4000 + "</p>" + _paragraphs(prose[:1])))
    code = "\n".join(f"function step{n}(x) {{ if (x > {n}) {{ return x - {n}; }} return null; }}" for n in range(60))
    yield _odd("content", "source-code", _page("steps.js", f"<pre>{escape(code)}</pre>"))
    yield _odd("content", "very-long-title", _page("Title " * 400, _paragraphs(prose)))


def _declarations() -> Iterator[Capture]:
    """Pages that say how they may be used."""
    prose = _prose()
    yield _odd(
        "declaration",
        "noindex",
        _page("Not for indexing", _paragraphs(prose), head='<meta name="robots" content="noindex, nofollow">\n'),
    )
    yield _odd(
        "declaration",
        "noai",
        _page("Not for training", _paragraphs(prose), head='<meta name="robots" content="noai, noimageai">\n'),
    )
    html = _page("Reserved", _paragraphs(prose)).encode()
    yield Capture("declaration", f"{_ODD}/tdm-reserved", html, headers=(("TDM-Reservation", "1"),))
    yield Capture("declaration", f"{_ODD}/x-robots-tag", html, headers=(("X-Robots-Tag", "noindex"),))
    licence = '<p><a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a></p>'
    yield _odd(
        "declaration",
        "creative-commons",
        _page("Free to share", _paragraphs(odd_texts().english[1].paragraphs) + licence),
    )


def _other_types() -> Iterator[Capture]:
    prose = _prose()

    def of(name: str, body: bytes, mime: str, charset: str = "UTF-8") -> Capture:
        return Capture("other-type", f"{_ODD}/{name}", body, mime, mime, charset)

    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    yield of("paper.pdf", pdf + b"trailer<</Root 1 0 R>>\n%%EOF\n", "application/pdf", "binary")
    yield of("style.css", b"body { margin: 0; font-family: serif; }\n", "text/css")
    yield of("app.js", b"document.title = 'ready';\n", "application/javascript")
    yield of("data.json", b'{"rows": [1, 2, 3], "next": null}\n', "application/json")
    yield of("notes.txt", "\n\n".join(prose).encode(), "text/plain")
    feed = "".join(f"<item><title>{escape(page.title)}</title></item>" for page in odd_texts().english)
    yield of(
        "feed.xml",
        f'<?xml version="1.0"?><rss version="2.0"><channel>{feed}</channel></rss>'.encode(),
        "application/rss+xml",
    )
    # The header says HTML, the bytes say otherwise, and the other way round.
    gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    gif += b"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    yield Capture("other-type", f"{_ODD}/picture.html", gif, "text/html", "image/gif", "binary")
    html = _page("Sent as plain text", _paragraphs(prose)).encode()
    yield Capture("other-type", f"{_ODD}/page.txt", html, "text/plain", "text/html")


def _http() -> Iterator[Capture]:
    prose = _prose()
    yield Capture("empty", f"{_ODD}/empty", b"")
    yield Capture("empty", f"{_ODD}/white-space", b" \r\n\t\n" * 50)
    whole = _page("Cut short", _paragraphs(prose * 4)).encode()
    yield Capture("truncated", f"{_ODD}/truncated", whole[: len(whole) * 2 // 3], truncated="length")
    for status, name, text in (
        (403, "forbidden", "You may not see this page."),
        (410, "gone", "This page was removed and will not come back."),
        (429, "too-many-requests", "Slow down, please."),
        (500, "server-error", "Something went wrong while this page was being made."),
        (503, "unavailable", "The server is being repaired. Come back in an hour."),
    ):
        yield Capture("error", f"{_ODD}/{name}", _page(text, f"<p>{text}</p>").encode(), status=status)
    yield Capture(
        "error",
        f"{_ODD}/soft-404",
        _page("Page not found", "<p>Sorry, we could not find what you were looking for.</p>").encode(),
    )
    # One text under two sites, and one address with a session in it.
    soup = odd_texts().english[2]
    html = _page(soup.title, _paragraphs(soup.paragraphs)).encode()
    yield Capture("mirror", "http://mirror.sample/barley-soup", html)
    yield Capture("mirror", f"{_WORLD}/kitchen/barley-soup?sid=0f3a9c", html)
