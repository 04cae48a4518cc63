"""ARC files: header lines of both versions, and whole files through the reader."""

import random
from pathlib import Path

import pytest

from tasks.extract import arc
from tasks.extract.records import Record, format_of, part_borders, read_records
from tests.miniature import Page, english_pages, gzip_member, response_record

VERSION_BLOCK = (
    b"filedesc://IA-001102.arc 0.0.0.0 19960923142103 text/plain 76\n"
    b"1 0 Alexa Internet\nURL IP-address Archive-date Content-type Archive-length\n\n"
)


def http_block(page: Page) -> bytes:
    return response_record(page).partition(b"\r\n\r\n")[2].removesuffix(b"\r\n\r\n")


def arc_record(page: Page) -> bytes:
    block = http_block(page)
    return f"{page.url} 192.0.2.7 20100518090000 text/html {len(block)}\n".encode() + block + b"\n"


def write_arc(path: Path, pages: list[Page]) -> list[bytes]:
    """The file as a list of its records' bytes."""
    pieces = [VERSION_BLOCK, *map(arc_record, pages)]
    if path.name.endswith(".gz"):
        pieces = list(map(gzip_member, pieces))
    path.write_bytes(b"".join(pieces))
    return pieces


def whole(path: Path) -> list[Record]:
    return list(read_records(path, 0, path.stat().st_size))


def in_parts(path: Path, part_bytes: int) -> list[Record]:
    return [r for start, end in part_borders(path.stat().st_size, part_bytes) for r in read_records(path, start, end)]


@pytest.mark.parametrize("name", ["a.arc.gz", "a.arc"])
def test_records_have_the_words_of_warc_and_their_place(tmp_path: Path, name: str) -> None:
    pages = english_pages()
    pieces = write_arc(tmp_path / name, pages)
    first, *found = whole(tmp_path / name)
    assert (first.kind, first.damage) == ("warcinfo", None)
    assert [record.headers for record in found] == [
        {
            "warc-type": "response",
            "warc-target-uri": page.url,
            "warc-ip-address": "192.0.2.7",
            "warc-date": "2010-05-18T09:00:00Z",
            "content-type": "text/html",
            "content-length": str(len(http_block(page))),
        }
        for page in pages
    ]
    assert [record.block for record in found] == list(map(http_block, pages))
    assert [record.length for record in found] == list(map(len, pieces[1:]))
    assert {(record.damage, record.detail) for record in found} == {(None, "")}


@pytest.mark.parametrize("name", ["a.arc.gz", "a.arc"])
@pytest.mark.parametrize("part_bytes", [257, 1000, 4096, 30_000])
def test_parts_together_are_the_file(tmp_path: Path, name: str, part_bytes: int) -> None:
    write_arc(tmp_path / name, english_pages())
    assert in_parts(tmp_path / name, part_bytes) == whole(tmp_path / name)


@pytest.mark.parametrize("name", ["a.arc.gz", "a.arc"])
def test_rubbish_costs_nothing_but_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    pieces = write_arc(path, english_pages())
    expected = whole(path)
    rubbish = random.Random(2).randbytes(300) + b"\n"
    path.write_bytes(b"".join([*pieces[:4], rubbish, *pieces[4:]]))
    found = whole(path)
    assert [record.block for record in found if not record.damage] == [record.block for record in expected]
    assert [(r.kind, r.length) for r in found if r.damage] == [("unknown", 301)]
    assert in_parts(path, 900) == found


@pytest.mark.parametrize("name", ["a.arc.gz", "a.arc"])
@pytest.mark.parametrize("length", [0, 30, 999_999])
def test_a_false_length_is_mended(tmp_path: Path, name: str, length: int) -> None:
    path = tmp_path / name
    pages = english_pages()[:3]
    first, second, third = map(arc_record, pages)
    head, _, rest = second.partition(b"\n")
    second = b"%s %d\n%s" % (head.rpartition(b" ")[0], length, rest)
    pack = gzip_member if name.endswith(".gz") else bytes
    path.write_bytes(b"".join(map(pack, (VERSION_BLOCK, first, second, third))))
    found = whole(path)
    assert [record.headers.get("warc-target-uri") for record in found[1:]] == [page.url for page in pages]
    assert found[2].block is not None
    assert found[2].block.rstrip(b"\n") == http_block(pages[1]).rstrip(b"\n")


def test_a_cut_file_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.arc.gz"
    pages = english_pages()[:2]
    pieces = write_arc(path, pages)
    path.write_bytes(path.read_bytes()[: -len(pieces[-1]) // 3])
    last = whole(path)[-1]
    assert (last.damage, last.headers["warc-target-uri"]) == ("truncated_record", pages[1].url)
    assert last.block and http_block(pages[1]).startswith(last.block)


@pytest.mark.parametrize(
    ("line", "url", "mime", "length"),
    [
        (b"http://a/ 1.2.3.4 20100518090000 text/html 7", "http://a/", "text/html", 7),
        (b"http://a/x y z 1.2.3.4 20100518090000 text/html 7\r", "http://a/x y z", "text/html", 7),
        (b"http://a/ 2001:db8::1 20100518090000 - 7", "http://a/", "", 7),
        (b"http://a/ 1.2.3.4 20100518090000 text/html 200 ABC - 1234 a.arc.gz 7", "http://a/", "text/html", 7),
        ("http://bücher.de/ 1.2.3.4 20100518090000 text/html 7".encode(), "http://bücher.de/", "text/html", 7),
    ],
)
def test_header_lines_of_both_versions(line: bytes, url: str, mime: str, length: int) -> None:
    assert arc.opens(line + b"\n")
    header = arc.parse(line + b"\nblock")
    assert header is not None
    assert (header.fields["warc-target-uri"], header.fields["content-type"], header.length) == (url, mime, length)
    assert header.fields["warc-date"] == "2010-05-18T09:00:00Z"
    assert header.size == len(line) + 1


@pytest.mark.parametrize(
    "line", [b"", b"HTTP/1.1 200 OK", b"http://a/ 1.2.3.4 yesterday text/html 7", b"see http://a/ for 4 5 6"]
)
def test_other_lines_are_no_headers(line: bytes) -> None:
    assert not arc.opens(line + b"\n")


def test_the_format_is_told_by_the_first_bytes() -> None:
    assert format_of(VERSION_BLOCK) == "arc"
    assert format_of(gzip_member(VERSION_BLOCK)) == "arc"
