"""Reading records of byte ranges: exact places, borders that lose nothing, damage that costs only what it hits."""

import gzip
import itertools
import random
import re
import zlib
from pathlib import Path

import pytest

from tasks.extract import members, walk
from tasks.extract.records import RUN_UP_BYTES, Record, format_of, part_borders, read_records
from tests.miniature import (
    Page,
    english_pages,
    gzip_member,
    miniature_pages,
    request_record,
    response_record,
    warcinfo_record,
    write_warc,
)


def whole(path: Path) -> list[Record]:
    return list(read_records(path, 0, path.stat().st_size))


def in_parts(path: Path, part_bytes: int) -> list[Record]:
    return [r for start, end in part_borders(path.stat().st_size, part_bytes) for r in read_records(path, start, end)]


def responses(records: list[Record]) -> list[str]:
    return [record.headers["warc-target-uri"] for record in records if record.kind == "response" and not record.damage]


def hold_at_most(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_RECORD_BYTES", n_bytes)
    monkeypatch.setattr(members, "WINDOW_BYTES", n_bytes + 5_000)
    monkeypatch.setattr(walk, "MAX_RECORD_BYTES", n_bytes)


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    path = tmp_path / "a.warc.gz"
    write_warc(path, miniature_pages()[0])
    return path


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_offset_and_length_give_the_record_back(tmp_path: Path, name: str) -> None:
    pages = miniature_pages()[0]
    path = tmp_path / name
    places = write_warc(path, pages)
    found = [record for record in whole(path) if record.kind == "response"]
    assert [(r.offset, r.length) for r in found] == [(place.offset, place.length) for place in places]
    for page, record in zip(pages, found, strict=True):
        piece = path.read_bytes()[record.offset : record.offset + record.length]
        record_bytes = zlib.decompress(piece, 31) if name.endswith(".gz") else piece
        assert record_bytes == response_record(page, name)
        assert record_bytes.endswith(record.block + b"\r\n\r\n")


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
@pytest.mark.parametrize("part_bytes", [257, 1000, 4096, 30_000, 1 << 20])
def test_parts_together_are_the_file_whatever_their_size(tmp_path: Path, name: str, part_bytes: int) -> None:
    path = tmp_path / name
    write_warc(path, miniature_pages()[1])
    assert in_parts(path, part_bytes) == whole(path)


def test_part_borders_cover_the_file_once() -> None:
    assert part_borders(0, 10) == []
    assert part_borders(20, 10) == [(0, 10), (10, 20)]
    assert part_borders(21, 10) == [(0, 10), (10, 20), (20, 21)]


def test_a_record_belongs_to_the_part_where_it_starts(crawl: Path) -> None:
    records = whole(crawl)
    second = records[1]
    size = crawl.stat().st_size
    assert next(read_records(crawl, second.offset, size)) == second
    assert next(read_records(crawl, second.offset + 1, size)) == records[2]
    assert list(read_records(crawl, 0, second.offset + 1)) == records[:2]


def test_a_page_that_is_a_warc_file_is_not_taken_for_records_of_the_crawl(tmp_path: Path) -> None:
    inner = b"".join(gzip_member(response_record(page)) for page in english_pages() * 4)
    page = Page("http://archive.example/inner.warc.gz", inner, content_type="application/gzip")
    path = tmp_path / "a.warc.gz"
    first, last = (gzip_member(response_record(page)) for page in english_pages()[:2])
    path.write_bytes(first + gzip.compress(response_record(page), 0) + last)
    assert inner[:20_000] in path.read_bytes()  # stored, not compressed: its members are there to be found
    expected = whole(path)
    assert len(responses(expected)) == 3
    for part_bytes in (500, 777, 5000):
        assert in_parts(path, part_bytes) == expected


def test_a_cut_file_keeps_what_is_before_the_cut(crawl: Path) -> None:
    expected = whole(crawl)
    target = [record for record in expected if record.kind == "response"][10]
    crawl.write_bytes(crawl.read_bytes()[: target.offset + target.length - 40])
    found = whole(crawl)
    assert found[:-1] == expected[: expected.index(target)]
    assert (found[-1].damage, found[-1].offset, found[-1].kind) == ("truncated_record", target.offset, "response")
    assert found[-1].headers["warc-target-uri"] == target.headers["warc-target-uri"]
    for part_bytes in (300, 5000):
        assert in_parts(crawl, part_bytes) == found


def test_a_damaged_member_costs_itself_alone(crawl: Path) -> None:
    expected = whole(crawl)
    target = [record for record in expected if record.kind == "response"][5]
    data = bytearray(crawl.read_bytes())
    middle = target.offset + target.length // 2
    data[middle : middle + 8] = b"\xff" * 8
    crawl.write_bytes(data)
    found = whole(crawl)
    assert [r for r in found if not r.damage] == [r for r in expected if r != target]
    (lost,) = (record for record in found if record.damage)
    assert (lost.damage, lost.offset, lost.length) == ("corrupt_record", target.offset, target.length)
    for part_bytes in (300, 1111, 5000):
        assert in_parts(crawl, part_bytes) == found


def test_rubbish_between_members_is_reported_once_with_its_place(crawl: Path) -> None:
    expected = whole(crawl)
    at = expected[7].offset
    data = crawl.read_bytes()
    rubbish = random.Random(1).randbytes(500)
    crawl.write_bytes(data[:at] + rubbish + data[at:])
    found = whole(crawl)
    assert [(r.offset, r.length, r.kind) for r in found if r.damage] == [(at, 500, "unknown")]
    assert responses(found) == responses(expected)
    for part_bytes in (200, 999, 4096):
        assert in_parts(crawl, part_bytes) == found


def test_zero_padding_at_the_end_is_no_loss(crawl: Path) -> None:
    expected = whole(crawl)
    crawl.write_bytes(crawl.read_bytes() + bytes(3000))
    assert whole(crawl) == expected
    assert in_parts(crawl, 1000) == expected


def test_members_cut_elsewhere_than_at_records_are_joined(tmp_path: Path) -> None:
    page = english_pages()[0]
    record = response_record(page)
    pieces = [record[:500], record[500:900], record[900:]]
    path = tmp_path / "a.warc.gz"
    start = gzip_member(warcinfo_record("a"))
    joined = b"".join(map(gzip_member, pieces))
    path.write_bytes(start + joined + gzip_member(request_record(page)))
    assert [(r.kind, r.damage) for r in whole(path)] == [("warcinfo", None), ("response", None), ("request", None)]
    assert (whole(path)[1].offset, whole(path)[1].length) == (len(start), len(joined))
    assert in_parts(path, 100) == whole(path)


def test_a_file_compressed_as_one_stream_is_read(tmp_path: Path) -> None:
    pages = english_pages()[:3]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip_member(b"".join(response_record(page) for page in pages)))
    found = whole(path)
    assert responses(found) == [page.url for page in pages]
    assert {(r.offset, r.length) for r in found} == {(0, path.stat().st_size)}


def test_a_stream_too_large_to_hold_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_at_most(20_000, monkeypatch)
    large = Page("http://large.example/", b"x" * 100_000)
    pages = [english_pages()[0], large, english_pages()[1]]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip_member(b"".join(response_record(page) for page in pages)) + gzip_member(b"WARC/1.0\r\n"))
    found = whole(path)
    assert [(r.headers.get("warc-target-uri"), r.block is None) for r in found[:3]] == [
        (pages[0].url, False),
        (large.url, True),
        (pages[2].url, False),
    ]


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_a_record_too_large_to_hold_is_named_without_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hold_at_most(20_000, monkeypatch)
    path = tmp_path / name
    write_warc(path, [english_pages()[0], Page("http://large.example/", b"x" * 100_000), english_pages()[1]])
    found = [record for record in whole(path) if record.kind == "response"]
    assert [(r.block is None, r.damage) for r in found] == [(False, None), (True, None), (False, None)]
    assert found[1].headers["warc-target-uri"] == "http://large.example/"


def false_length(record: bytes, length: int | None) -> bytes:
    """The record with another Content-Length, or none, in its WARC header."""
    line = b"" if length is None else b"\r\nContent-Length: %d" % length
    return re.sub(rb"\r\nContent-Length: \d+", line, record, count=1)


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
@pytest.mark.parametrize("length", [0, 7, 900, 5_000, 10**6, 10**15, 10**40, -3, None])
def test_a_false_content_length_is_mended_where_the_next_record_shows_it(
    tmp_path: Path, name: str, length: int | None
) -> None:
    pages = english_pages()[:3]
    records = [response_record(page) for page in pages]
    path = tmp_path / name
    pack = gzip_member if name.endswith(".gz") else bytes
    path.write_bytes(b"".join(map(pack, records)))
    expected = whole(path)
    path.write_bytes(pack(records[0]) + pack(false_length(records[1], length)) + pack(records[2]))
    found = whole(path)
    assert [(record.block, record.damage) for record in found] == [(record.block, None) for record in expected]
    assert [bool(record.detail) for record in found] == [False, True, False]
    assert in_parts(path, 1000) == found


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_a_record_inside_which_another_begins_keeps_what_is_there(tmp_path: Path, name: str) -> None:
    pages = english_pages()[:2]
    path = tmp_path / name
    pack = gzip_member if name.endswith(".gz") else bytes
    first, second = (pack(response_record(page)) for page in pages)
    path.write_bytes(first + second)
    block = whole(path)[0].block
    assert block is not None
    path.write_bytes(first[: len(first) // 2] + second)  # a crawler that crashed, was restarted and wrote on
    found = whole(path)
    assert [(r.kind, r.damage, r.offset) for r in found] == [
        ("response", "truncated_record", 0),
        ("response", None, len(first) // 2),
    ]
    assert found[0].block and block.startswith(found[0].block)
    assert b"<body>" in found[0].block
    assert in_parts(path, 700) == found


def test_a_cut_uncompressed_file_keeps_what_is_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    places = write_warc(path, english_pages()[:4])
    path.write_bytes(path.read_bytes()[: places[2].offset + 700])
    found = whole(path)
    assert responses(found) == [place.url for place in places[:2]]
    assert (found[-1].damage, found[-1].offset) == ("truncated_record", places[2].offset)
    assert found[-1].headers["warc-target-uri"] == places[2].url


def test_headers_with_bare_line_feeds_are_read(tmp_path: Path) -> None:
    record = response_record(english_pages()[0])
    head, _, rest = record.partition(b"\r\n\r\n")
    path = tmp_path / "a.warc"
    path.write_bytes(head.replace(b"\r\n", b"\n") + b"\n\n" + rest)
    assert responses(whole(path)) == [english_pages()[0].url]


def test_the_format_is_told_by_the_first_bytes() -> None:
    record = response_record(english_pages()[0])
    assert format_of(record) == "warc"
    assert format_of(gzip_member(record)[:200]) == "warc"
    assert format_of(b"just some text") is None
    assert format_of(gzip_member(b"just some text")) is None
    assert format_of(b"") is None


def test_a_cut_stream_keeps_all_records_before_the_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = english_pages()
    path = tmp_path / "a.warc.gz"
    stream = gzip_member(b"".join(map(response_record, pages)))
    path.write_bytes(stream)
    expected = [(record.headers, record.block) for record in whole(path)]
    path.write_bytes(stream[: len(stream) // 2])
    found = whole(path)
    assert [(r.headers, r.block) for r in found[:-1]] == expected[: len(found) - 1]
    assert len(found) > len(pages) // 3
    assert {record.damage for record in found[:-1]} == {None}
    assert found[-1].damage == "truncated_record"
    assert {(r.offset, r.length) for r in found} == {(0, len(stream) // 2)}
    hold_at_most(2_000, monkeypatch)  # the same, read piece by piece
    assert [(r.headers, r.block) for r in whole(path)[:-1]] == [(r.headers, r.block) for r in found[:-1]]


def test_a_damaged_stream_keeps_what_its_digests_vouch_for(tmp_path: Path) -> None:
    pages = english_pages()
    path = tmp_path / "a.warc.gz"
    stream = bytearray(gzip_member(b"".join(map(response_record, pages))))
    path.write_bytes(stream)
    expected = [record.block for record in whole(path)]
    stream[len(stream) // 2] ^= 16
    path.write_bytes(stream)
    found = whole(path)
    sound = [record.block for record in found if not record.damage]
    assert set(sound) < set(expected)
    assert len(sound) > len(pages) // 3
    assert any(record.damage == "corrupt_record" and record.block is None for record in found)


def test_a_wrong_checksum_is_no_damage_where_the_digest_fits(crawl: Path) -> None:
    page = Page("http://a.example/", b"<p>text", warc_headers={"WARC-Block-Digest": "sha1:" + "A" * 32})
    for record, damage in ((response_record(english_pages()[0]), None), (response_record(page), "corrupt_record")):
        member = bytearray(gzip_member(record))
        member[-6] ^= 1
        crawl.write_bytes(bytes(member) + gzip_member(warcinfo_record("a")))
        assert [(r.kind, r.damage) for r in whole(crawl)] == [("response", damage), ("warcinfo", None)]


class Watched:
    """A file that remembers which of its bytes were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: slice) -> bytes:
        self.asked.append(place.indices(len(self.data))[:2])
        return self.data[place]

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        found = self.data.find(sub, start, end)
        self.asked.append((start, found if found >= 0 else len(self.data) if end is None else end))
        return found


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_a_range_is_read_without_the_rest_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    dice = random.Random(4)
    write_warc(path, [Page(f"http://a.example/{k}", dice.randbytes(15_000)) for k in range(400)])
    data = path.read_bytes()
    start, end = 3_000_000, 4_000_000
    watched = Watched(data)
    found = list(read_records(watched, start, end))
    assert found == [record for record in whole(path) if start <= record.offset < end]
    assert len(found) > 150
    beyond = [place for place in watched.asked if place[1] > 4096]
    assert max(stop for _, stop in beyond) < end + 3 * 65_536
    assert min(begin for begin, _ in beyond) >= (start if name.endswith(".gz") else start - RUN_UP_BYTES)


def in_blocks(data: bytes, n_bytes: int) -> bytes:
    """Compressed as bgzip does it: a member for every so many bytes, whatever they are, and an empty one at the end."""
    return b"".join(gzip_member(data[at : at + n_bytes]) for at in range(0, len(data), n_bytes)) + gzip_member(b"")


def contents(records: list[Record]) -> list[tuple[str | None, bytes | None, str | None]]:
    return [(record.headers.get("warc-target-uri"), record.block, record.damage) for record in records]


@pytest.mark.parametrize("n_bytes", [24, 64, 777, 65_280])
def test_members_cut_at_every_so_many_bytes_give_every_record(tmp_path: Path, n_bytes: int) -> None:
    plain = warcinfo_record("a") + b"".join(map(response_record, english_pages()))
    path = tmp_path / "a.warc"
    path.write_bytes(plain)
    expected = contents(whole(path))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(in_blocks(plain, n_bytes))
    found = whole(path)
    assert contents(found) == expected
    assert in_parts(path, path.stat().st_size // 3) == found
    for record in found:
        piece = path.read_bytes()[record.offset : record.offset + record.length]
        assert contents([record])[0] in contents(list(read_records(piece, 0, len(piece))))


@pytest.mark.parametrize("shift", range(6))
def test_a_member_may_end_anywhere_around_the_end_of_a_record(tmp_path: Path, shift: int) -> None:
    records = list(map(response_record, english_pages()[:6]))
    plain = b"".join(records)
    ends = [sum(map(len, records[: k + 1])) + 1 - shift for k in range(5)]
    cuts = [0, *ends, len(plain)]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(gzip_member(plain[a:b]) for a, b in itertools.pairwise(cuts)))
    assert responses(whole(path)) == [page.url for page in english_pages()[:6]]
    assert in_parts(path, 700) == whole(path)


def test_damage_among_members_cut_elsewhere_costs_the_records_it_hits(tmp_path: Path) -> None:
    pages = english_pages()
    plain = b"".join(map(response_record, pages))
    members_ = [gzip_member(plain[at : at + 1_000]) for at in range(0, len(plain), 1_000)]
    hit = len(members_) // 2
    members_[hit] = members_[hit][:200] + b"\xff" * 20 + members_[hit][220:]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(members_))
    found = whole(path)
    assert len(responses(found)) >= len(pages) - 3
    assert any(record.damage for record in found)
    assert in_parts(path, 900) == found
