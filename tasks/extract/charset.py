"""From bytes to characters. No page is dropped here: at worst some characters are replaced, and that is counted.

Order: byte order mark, valid UTF-8, HTTP header, `<meta>`, detection (uchardet by Resiliparse). Valid UTF-8 with
characters beyond ASCII precedes the header, since servers often declare a default that the page does not follow and
text in another encoding is almost never valid UTF-8 by accident. Names are read as browsers read them (WHATWG Encoding
Standard, 4.2: `iso-8859-1` means windows-1252, `gb2312` means gb18030).
"""

import codecs
import re
from dataclasses import dataclass
from typing import Literal

Source = Literal["bom", "utf8", "http", "meta", "detected", "fallback"]

META_BYTES = 4096  # of the page searched for its own declaration; the standard says 1024, real heads are longer
DETECT_BYTES = 1 << 17  # of the page given to the detector
MAX_REPLACED_SHARE = 0.1  # of the non-ASCII bytes: a declared charset that fails on more than that is wrong
FALLBACK = "cp1252"  # the standard's default for western locales

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[^>]+?charset\s*+=[\s"']*+([a-zA-Z0-9_.:\-]+)""", re.IGNORECASE)
_XML = re.compile(rb"""^\s*<\?xml[^>]+?encoding\s*=\s*["']([a-zA-Z0-9_.:\-]+)""", re.IGNORECASE)
_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"}
_NON_ASCII = bytes(range(0x80, 0x100))
_STATEFUL = {"iso2022_jp", "iso2022_kr", "hz"}  # their bytes are all ASCII, their text is not
_WIDE = ("utf-16", "utf-32")
# What a label means on the web is the largest of a family of encodings; Python's codecs are the strict small ones.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "iso8859-11": "cp874",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
}


@dataclass(frozen=True, slots=True)
class Decoding:
    """A page as text, and how it came about."""

    text: str
    charset: str
    source: Source
    replaced: int
    """Characters that could not be decoded (U+FFFD in their place)."""


def decode(data: bytes, http_charset: str = "") -> Decoding:
    """Decode an HTML page; never fails.

    Args:
        http_charset: the charset parameter of the Content-Type header, or the empty string.
    """
    for bom, charset in _BOMS:
        if data.startswith(bom):
            return _decoded(data[len(bom) :], charset, "bom")
    declared: list[tuple[str, Source]] = [(http_charset, "http"), (_declared_in(data), "meta")]
    named = [(python_name(label), source) for label, source in declared]
    candidates = [(name, source) for name, source in named if name and _is_possible(name, source, data)]
    n_high = _count_high(data)
    if not n_high:
        for name, source in candidates:
            if name in _STATEFUL or (name.startswith(_WIDE)):
                return _decoded(data, name, source)
        if b"\0" not in data:
            return Decoding(data.decode("ascii"), "utf-8", "utf8", 0)
    elif (text := _valid_utf8(data)) is not None:
        return Decoding(text, "utf-8", "utf8", 0)
    if detected := _detected(data):
        candidates.append((detected, "detected"))
    best: Decoding | None = None
    for name, source in candidates:
        decoding = _decoded(data, name, source)
        if decoding.replaced <= MAX_REPLACED_SHARE * n_high:
            return decoding
        if best is None or decoding.replaced < best.replaced:
            best = decoding
    fallback = _decoded(data, FALLBACK, "fallback")
    return fallback if best is None or fallback.replaced < best.replaced else best


def python_name(label: str) -> str:
    """Python codec for an encoding label as browsers understand it; empty when it is unknown."""
    if not label:
        return ""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = label.strip().lower()
    try:
        info = codecs.lookup(map_encoding_to_html5(label, False) or label)
    except (LookupError, ValueError):
        return ""
    if not info._is_text_encoding or info.name in _NO_CHARSETS:
        return ""
    return _SUPERSETS.get(info.name, info.name)


def _is_possible(name: str, source: Source, data: bytes) -> bool:
    """Whether a page can have the encoding it is said to have.

    A declaration that was read as ASCII was not written in two or four bytes a character (WHATWG HTML, 13.2.3.2), and
    such a page has a NUL in every tag.
    """
    return not name.startswith(_WIDE) or (source == "http" and b"\0" in data)


def _declared_in(data: bytes) -> str:
    head = data[:META_BYTES]
    found = _META.search(head) or _XML.search(head)
    return found[1].decode("ascii") if found else ""


def _detected(data: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    # Not its own mapping to browser names: that turns some results (cp949) into its default, utf-8.
    return python_name(detect_encoding(data, max_len=DETECT_BYTES, html5_compatible=False) or "")


def _count_high(data: bytes) -> int:
    return len(data) - len(data.translate(None, _NON_ASCII)) if not data.isascii() else 0


def _valid_utf8(data: bytes) -> str | None:
    """The text if the bytes are UTF-8, where a record cut in the middle of the last character still is."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 3 or error.reason != "unexpected end of data":
            return None
        return data[: error.start].decode("utf-8")


def _decoded(data: bytes, charset: str, source: Source) -> Decoding:
    text = data.decode(charset, "replace")
    return Decoding(text, charset, source, text.count("\ufffd"))
