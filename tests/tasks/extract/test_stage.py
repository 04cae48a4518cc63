"""`extract`: every response is a document or a skipped row, whatever it is and however the file is cut."""

import gzip
import hashlib
import os
import signal
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import brotli
import pyarrow as pa
import pytest

from infra.stage import Source
from infra.store import Store
from infra.store.digests import DigestCache
from tasks.extract import page as page_module
from tasks.extract.params import ExtractParams
from tasks.extract.records import part_borders
from tasks.extract.stage import DOCUMENTS, SKIPPED, PartResult, extract, extract_part_records
from tests.miniature import (
    ENGLISH,
    Page,
    english_pages,
    gzip_member,
    html_page,
    miniature_crawl,
    miniature_pages,
    record_id,
    warc_record,
    write_warc,
)

PARAMS = ExtractParams()
ARTICLE = html_page(ENGLISH["bread"]).encode()


def run(tmp_path: Path, pages: list[Page], params: ExtractParams = PARAMS) -> PartResult:
    path = tmp_path / "a.warc.gz"
    write_warc(path, pages)
    return extract_part_records(path, 0, path.stat().st_size, params, path.name)


def reasons(result: PartResult) -> list[tuple[str, str, str]]:
    return [(row["url"], row["reason"], row["detail"]) for row in result.skipped.to_pylist()]


def reason_of(tmp_path: Path, page: Page, params: ExtractParams = PARAMS) -> tuple[str, str]:
    result = run(tmp_path, [page], params)
    assert result.documents.num_rows == 0
    ((_, reason, detail),) = reasons(result)
    return reason, detail


@pytest.fixture(scope="module")
def first_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PartResult]:
    path = tmp_path_factory.mktemp("crawl") / "mini.warc.gz"
    write_warc(path, miniature_pages()[0])
    return path, extract_part_records(path, 0, path.stat().st_size, PARAMS, "mini.warc.gz")


def test_every_response_is_accounted_for(first_file: tuple[Path, PartResult]) -> None:
    _, result = first_file
    urls = Counter(page.url for page in miniature_pages()[0])
    found = Counter(result.documents["url"].to_pylist() + result.skipped["url"].to_pylist())
    assert found == urls
    assert result.responses == len(miniature_pages()[0]) == result.documents.num_rows + sum(result.dropped.values())
    assert result.dropped == {"empty_body": 1, "empty_text": 1, "repeated_payload": 1}
    assert result.metrics["records_response"] == result.responses


def test_tables_have_the_declared_columns(first_file: tuple[Path, PartResult]) -> None:
    _, result = first_file
    assert result.documents.schema == DOCUMENTS
    assert result.skipped.schema == SKIPPED


def test_rows_lead_back_to_the_record(first_file: tuple[Path, PartResult]) -> None:
    path, result = first_file
    data = path.read_bytes()
    for row in result.documents.to_pylist() + result.skipped.to_pylist():
        record = zlib.decompress(data[row["warc_offset"] : row["warc_offset"] + row["warc_length"]], 31)
        assert f"WARC-Target-URI: {row['url']}\r\n".encode() in record
        assert any(page.body in record for page in miniature_pages()[0] if page.url == row["url"])
        assert row["warc_file"] == "mini.warc.gz"
        assert row["doc_id"] is not None


def test_a_document_says_where_it_comes_from(tmp_path: Path) -> None:
    page = Page(
        "https://www.example.co.uk/bread",
        ARTICLE,
        http_headers=(("X-Robots-Tag", "noai"), ("tdm-reservation", "1")),
    )
    (row,) = run(tmp_path, [page]).documents.to_pylist()
    assert (row["host"], row["site"]) == ("www.example.co.uk", "example.co.uk")
    assert row["captured_at"].isoformat() == "2024-05-18T09:00:00+00:00"
    assert (row["http_status"], row["mime"], row["charset"]) == (200, "text/html", "utf-8")
    assert (row["language_html"], row["html_bytes"]) == ("en", len(ARTICLE))
    assert (row["robots_noindex"], row["robots_noai"], row["tdm_reserved"]) == (False, True, True)
    assert row["text"].startswith("How sourdough bread rises\nA sourdough starter is a small colony")


def test_rows_are_pinned(first_file: tuple[Path, PartResult]) -> None:
    """When this fails without a change of library versions, raise the stage's version."""
    _, result = first_file
    content = [
        [str(value) for value in row.values()]
        for table in (result.documents, result.skipped)
        for row in table.drop_columns(["warc_offset", "warc_length"]).to_pylist()
    ]
    digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    assert digest == "0edded18e97d8d54", "rows changed"


@pytest.mark.parametrize(
    ("page", "reason", "detail"),
    [
        (Page("http://a/", ARTICLE, status=301), "redirect", "301"),
        (Page("http://a/", ARTICLE, status=404), "http_status", "404"),
        (Page("http://a/", b"\x89PNG", content_type="image/png"), "mime", "image/png"),
        (Page("http://a/", b"%PDF-1.4 " * 9), "mime", "text/html, but is application/pdf"),
        (Page("http://a/", b"some text", content_type="text/plain"), "mime", "text/plain"),
        (Page("http://a/", b"{}", content_type=None), "mime", "no type"),
        (Page("http://a/", b""), "empty_body", ""),
        (Page("http://a/", b"x", http_headers=(("Content-Encoding", "compress"),)), "content_coding", "compress"),
        (Page("http://a/", b"<html><body></body></html>"), "empty_text", ""),
    ],
)  # fmt: skip
def test_what_is_no_page_is_skipped_with_its_reason(tmp_path: Path, page: Page, reason: str, detail: str) -> None:
    assert reason_of(tmp_path, page) == (reason, detail)


def test_html_behind_a_vague_type_is_a_page(tmp_path: Path) -> None:
    pages = [
        Page(f"http://a/{k}", ARTICLE + b" " * k, content_type=kind) for k, kind in enumerate(("text/plain", None))
    ]
    assert run(tmp_path, pages).documents.num_rows == 2


def test_sizes_are_limited_before_and_after_decoding(tmp_path: Path) -> None:
    params = ExtractParams(max_html_bytes=1000)
    assert reason_of(tmp_path, Page("http://a/", ARTICLE), params)[0] == "too_large"
    packed = Page("http://a/", gzip.compress(b"<p>" + b"a" * 50_000), http_headers=(("Content-Encoding", "gzip"),))
    assert reason_of(tmp_path, packed, params) == ("too_large", "decodes to more than 1000 bytes")
    assert reason_of(tmp_path, Page("http://a/", ARTICLE), ExtractParams(max_tags=5))[0] == "too_many_tags"


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", gzip.compress(ARTICLE, mtime=0)), ("br", brotli.compress(ARTICLE))]
)
def test_coded_bodies_are_pages(tmp_path: Path, coding: str, body: bytes) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    headers = (("Content-Encoding", coding), ("Transfer-Encoding", "chunked"))
    result = run(tmp_path, [Page("http://a/", chunks, http_headers=headers)])
    assert result.documents["html_bytes"].to_pylist() == [len(ARTICLE)]


def test_a_repeated_payload_counts_only_after_a_page_that_passed(tmp_path: Path) -> None:
    pages = [
        Page("http://a/404", ARTICLE, status=404),
        Page("http://a/1", ARTICLE),
        Page("http://a/2", ARTICLE),
    ]
    result = run(tmp_path, pages)
    assert result.documents["url"].to_pylist() == ["http://a/1"]
    first = result.documents["warc_offset"].to_pylist()[0]
    assert reasons(result)[1] == ("http://a/2", "repeated_payload", f"offset {first}")


def test_wrong_and_missing_digests_drop_nothing_and_are_counted(tmp_path: Path) -> None:
    pages = english_pages()[:3]
    pages[0] = replace(pages[0], payload_digest="sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    pages[1] = replace(pages[1], payload_digest="")
    result = run(tmp_path, pages)
    assert result.documents.num_rows == 3
    assert (result.metrics["digests_wrong"], result.metrics["digests_missing"]) == (1, 1)
    assert len(set(result.documents["doc_id"].to_pylist())) == 3


def test_records_that_are_no_http_responses_have_their_reasons(tmp_path: Path) -> None:
    about = {"WARC-Date": "2024-05-18T09:00:00Z", "WARC-Target-URI": "<http://a.example/x>"}
    blocks = [
        ("resource", {"Content-Type": "image/png"}, b"\x89PNG"),
        ("conversion", {"Content-Type": "image/png"}, b"\x89PNG"),
        ("revisit", {"Content-Type": "application/http; msgtype=response"}, b"HTTP/1.1 200 OK\r\n\r\n"),
        ("response", {"Content-Type": "text/dns"}, b"20240518090000\na.example. 60 IN A 192.0.2.1\n"),
    ]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(
        b"".join(
            gzip_member(warc_record(kind, {"WARC-Record-ID": record_id(kind)} | about | headers, block))
            for kind, headers, block in blocks
        )
    )
    result = extract_part_records(path, 0, path.stat().st_size, PARAMS, path.name)
    assert reasons(result) == [
        ("http://a.example/x", "mime", "image/png"),
        ("http://a.example/x", "not_a_response", "conversion to image/png"),
        ("http://a.example/x", "not_a_response", "revisit"),
        ("http://a.example/x", "not_http", "text/dns"),
    ]


def test_unreadable_dates_leave_the_column_empty(tmp_path: Path) -> None:
    result = run(tmp_path, [Page("http://a/", ARTICLE, date="last week")])
    assert result.documents["captured_at"].to_pylist() == [None]
    assert result.metrics["unreadable_dates"] == 1


def test_parts_give_the_rows_of_the_whole_file(first_file: tuple[Path, PartResult]) -> None:
    path, whole = first_file
    pieces = [
        extract_part_records(path, start, end, PARAMS, "mini.warc.gz", in_process=True)
        for start, end in part_borders(path.stat().st_size, 9000)
    ]
    assert len(pieces) > 3
    documents = pa.concat_tables(piece.documents for piece in pieces)
    # A payload is a repetition within its part only.
    repeated = set(documents["url"].to_pylist()) - set(whole.documents["url"].to_pylist())
    assert repeated <= {"https://almanac.example.com/articles/bread.html?print=1"}
    kept = [row for row in documents.to_pylist() if row["url"] not in repeated]
    assert kept == whole.documents.to_pylist()


def test_damage_is_counted_with_its_place_and_nothing_else_is_lost(tmp_path: Path) -> None:
    pages = english_pages()[:6]
    path = tmp_path / "a.warc.gz"
    places = write_warc(path, pages)
    data = bytearray(path.read_bytes())
    middle = places[2].offset + places[2].length // 2
    data[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(data[: places[5].offset + places[5].length // 2])
    result = extract_part_records(path, 0, path.stat().st_size, PARAMS, path.name)
    assert result.documents["url"].to_pylist() == [pages[k].url for k in (0, 1, 3, 4)]
    assert [(row["reason"], row["warc_offset"], row["url"]) for row in result.skipped.to_pylist()] == [
        ("corrupt_record", places[2].offset, pages[2].url),
        ("truncated_record", places[5].offset, pages[5].url),
    ]
    assert result.responses == 6


def test_a_page_that_fails_crashes_or_hangs_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_extract_page = page_module.extract_page

    def hostile(html: str, captured_on: str, options: object, **about: object) -> object:
        if "RAISE" in html:
            raise RecursionError("too deep")
        if "CRASH" in html:
            os.kill(os.getpid(), signal.SIGSEGV)
        while "HANG" in html:
            pass
        return true_extract_page(html, captured_on, options, **about)

    monkeypatch.setattr(page_module, "extract_page", hostile)
    words = ["fine", "RAISE", "CRASH", "HANG", "fine too"]
    pages = [Page(f"http://a/{k}", ARTICLE.replace(b"<h1>", f"<h1>{word} ".encode())) for k, word in enumerate(words)]
    result = run(tmp_path, pages, ExtractParams(max_cpu_seconds=1))
    assert result.documents["url"].to_pylist() == ["http://a/0", "http://a/4"]
    assert reasons(result) == [
        ("http://a/1", "extraction_error", "RecursionError: too deep"),
        ("http://a/2", "extraction_crash", "SIGSEGV"),
        ("http://a/3", "extraction_timeout", "1 s of CPU time"),
    ]


def test_an_empty_range_gives_empty_tables(first_file: tuple[Path, PartResult]) -> None:
    path, _ = first_file
    result = extract_part_records(path, 10, 20, PARAMS, path.name)
    assert (result.responses, result.documents.num_rows, result.skipped.num_rows) == (0, 0, 0)
    assert result.documents.schema == DOCUMENTS


def test_the_stage_is_the_same_from_any_folder_and_in_any_order(tmp_path: Path, spark: object) -> None:
    one = miniature_crawl(tmp_path / "one")
    two = miniature_crawl(tmp_path / "elsewhere")
    params = ExtractParams(part_bytes=20_000)
    made = []
    for k, folder in enumerate((one, two)):
        files = sorted(folder.iterdir(), reverse=bool(k))
        crawl = Source.of_files(files, DigestCache(tmp_path / f"digests{k}.json"))
        made.append(extract.run(Store(tmp_path / f"store{k}"), crawl=crawl, params=params))
    first, second = made
    assert first.version == second.version
    assert first.part_count > 2
    assert [(f.path, f.sha256) for f in first.manifest.files] == [(f.path, f.sha256) for f in second.manifest.files]
    counts = first.manifest.counts
    n_pages = sum(map(len, miniature_pages()))
    assert (counts.in_.unit, counts.in_.n, counts.out.unit) == ("responses", n_pages, "documents")
    assert counts.in_.n == counts.out.n + sum(counts.dropped.values())
    assert first.read_table("documents").num_rows == counts.out.n


def test_progress_tells_share_and_responses_as_records_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    write_warc(path, english_pages()[:4])
    told: list[tuple[float, int]] = []
    result = extract_part_records(
        path, 0, path.stat().st_size, PARAMS, path.name, progress=lambda share, n: told.append((share, n))
    )
    assert told == sorted(told) and told[0] == (0.0, 0) and 0.5 < told[-1][0] < 1
    assert told[-1][1] == result.responses == 4
