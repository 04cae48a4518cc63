"""Characters: every page is decoded, by the most credible of what it and its server say."""

import pytest

from tasks.extract.charset import decode, python_name

RUSSIAN = "Ржаной хлеб пекут на закваске, которую кормят мукой и водой каждый день. " * 5
KOREAN = "대한민국의 수도는 서울이며 많은 사람들이 살고 있다. 이 문서는 시험을 위해 쓰였다. " * 5
GERMAN = "Die Bäcker öffnen früh, und über den Straßen hängt der Geruch von Brot. " * 5
JAPANESE = "日本語の文章を試験のために書きました。文字コードを調べます。" * 5


@pytest.mark.parametrize(
    ("text", "encoding", "header", "source"),
    [
        (RUSSIAN, "utf-8", "", "utf8"),
        (RUSSIAN, "utf-8", "windows-1251", "utf8"),  # a server default that the page does not follow
        (RUSSIAN, "windows-1251", "windows-1251", "http"),
        (RUSSIAN, "windows-1251", "utf-8", "detected"),
        (RUSSIAN, "koi8-r", "", "detected"),
        (KOREAN, "cp949", "euc-kr", "http"),
        (KOREAN, "euc-kr", "", "detected"),
        (GERMAN, "latin-1", "iso-8859-1", "http"),
        (GERMAN, "latin-1", "utf-8", "detected"),
        (JAPANESE, "shift_jis", "", "detected"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP", "http"),
        (GERMAN, "utf-8-sig", "latin-1", "bom"),
        (JAPANESE, "utf-16", "utf-8", "bom"),
        (GERMAN, "utf-16-le", "utf-16le", "http"),
    ],
)
def test_pages_are_decoded(text: str, encoding: str, header: str, source: str) -> None:
    decoding = decode(text.encode(encoding), header)
    assert decoding.text == text
    assert (decoding.source, decoding.replaced) == (source, 0)


@pytest.mark.parametrize(
    "head",
    [
        '<meta charset="windows-1251">',
        "<META http-equiv=Content-Type content='text/html; charset=windows-1251'>",
        '<?xml version="1.0" encoding="windows-1251"?>',
    ],
)
def test_the_page_says_its_charset(head: str) -> None:
    decoding = decode((head + RUSSIAN).encode("windows-1251"))
    assert (decoding.text, decoding.source, decoding.charset) == (head + RUSSIAN, "meta", "cp1251")


def test_a_page_cut_inside_a_character_is_still_utf8() -> None:
    decoding = decode(RUSSIAN.encode()[:-2])
    assert (decoding.source, decoding.text) == ("utf8", RUSSIAN.encode()[:-2].decode("utf-8", "ignore"))


def test_a_few_broken_bytes_do_not_change_the_charset() -> None:
    data = RUSSIAN.encode()
    decoding = decode(data[:100] + b"\xff\xfe" + data[100:], "utf-8")
    assert (decoding.charset, decoding.replaced) == ("utf-8", 2)
    assert decoding.text.replace("\ufffd", "") == RUSSIAN


@pytest.mark.parametrize("data", [b"", b"plain", b"\x00\xff\xfe\x81\x8d" * 50, bytes(range(256)) * 4])
def test_any_bytes_become_text(data: bytes) -> None:
    assert isinstance(decode(data, "no-such-charset").text, str)


def test_labels_are_read_as_browsers_read_them() -> None:
    assert python_name("ISO-8859-1") == "cp1252"
    assert python_name("gb2312") == "gb18030"
    assert python_name(" UTF8 ") == "utf-8"
    for label in ("", "none", "rot13", "hex", "unicode_escape", "utf-7", "x" * 1000, "\0"):
        assert python_name(label) == ""


def test_a_declaration_of_mere_blanks_is_not_searched_for_again_and_again() -> None:
    head = b"<meta" * 300 + b" charset=" + b" " * 2_500
    assert decode(head + b">" + GERMAN.encode()).source == "utf8"


@pytest.mark.parametrize("label", ["utf-16", "unicode", "utf-16be", "utf-32"])
def test_a_page_of_single_bytes_is_not_read_as_wide_characters(label: str) -> None:
    page = f"<meta charset={label}>{GERMAN}"
    for data, header in ((page.encode("latin-1"), ""), (GERMAN.encode("latin-1"), label)):
        decoding = decode(data, header)
        assert decoding.source == "detected"
        assert decoding.text in (page, GERMAN)
