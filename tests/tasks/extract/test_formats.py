"""`extract` over what is not an everyday WARC file: texts (WET), ARC, pages stored alone, cut pages."""

from pathlib import Path

import pytest

from tasks.extract.params import ExtractParams
from tasks.extract.stage import DOCUMENTS, PartResult, extract_part_records
from tests.miniature import (
    ENGLISH,
    GERMAN,
    Page,
    english_pages,
    gzip_member,
    html_page,
    record_id,
    warc_record,
    write_warc,
)
from tests.tasks.extract.test_arc import write_arc

PARAMS = ExtractParams()
TEXT = "\n".join(ENGLISH["bread"][:2])


def run(path: Path, params: ExtractParams = PARAMS) -> PartResult:
    return extract_part_records(path, 0, path.stat().st_size, params, path.name)


def write_records(path: Path, *records: tuple[str, str, str, bytes]) -> Path:
    """A file of (kind, URL, Content-Type, block) records."""
    path.write_bytes(
        b"".join(
            gzip_member(
                warc_record(
                    kind,
                    {
                        "WARC-Record-ID": record_id(kind, url),
                        "WARC-Date": "2024-05-18T09:00:00Z",
                        "WARC-Target-URI": url,
                        "Content-Type": content_type,
                    },
                    block,
                )
            )
            for kind, url, content_type, block in records
        )
    )
    return path


def test_the_texts_of_a_wet_file_are_documents(tmp_path: Path) -> None:
    path = write_records(
        tmp_path / "a.warc.wet.gz",
        ("warcinfo", "", "application/warc-fields", b"software: x\r\n"),
        ("conversion", "http://a.example/1", "text/plain", TEXT.encode() + b"\n"),
        ("conversion", "http://a.example/2", "text/plain", "<b> ist kein Element, sondern Größe".encode()),
        ("conversion", "http://a.example/3", "text/plain", b" \n"),
        ("conversion", "http://a.example/4", "text/plain", TEXT.encode() + b"\n"),
    )
    result = run(path)
    assert result.documents.schema == DOCUMENTS
    first, second = result.documents.to_pylist()
    assert (first["url"], first["host"], first["site"]) == ("http://a.example/1", "a.example", "a.example")
    assert (first["text"], first["extractor"], first["mime"]) == (TEXT, "given", "text/plain")
    assert (first["http_status"], first["charset"], first["truncated"]) == (None, "utf-8", False)
    assert len(first["doc_id"]) == 32
    assert second["text"] == "<b> ist kein Element, sondern Größe"
    assert result.dropped == {"empty_text": 1, "repeated_payload": 1}
    assert result.metrics["records_conversion"] == 4


def test_the_language_gate_reads_given_texts(tmp_path: Path) -> None:
    german = "\n".join(next(iter(GERMAN.values()))[:2])
    path = write_records(
        tmp_path / "a.warc.wet.gz",
        ("conversion", "http://a.example/en", "text/plain", (TEXT * 3).encode()),
        ("conversion", "http://a.example/de", "text/plain", (german * 3).encode()),
    )
    params = ExtractParams.model_validate({"gates": {"languages": ["en"]}})
    result = run(path, params)
    assert result.documents["url"].to_pylist() == ["http://a.example/en"]
    assert result.dropped == {"plain_language": 1}


@pytest.mark.parametrize("name", ["a.arc.gz", "a.arc"])
def test_the_pages_of_an_arc_file_are_documents(tmp_path: Path, name: str) -> None:
    pages = english_pages()
    write_arc(tmp_path / name, pages)
    write_warc(tmp_path / "a.warc.gz", pages)
    from_arc, from_warc = run(tmp_path / name).documents, run(tmp_path / "a.warc.gz").documents
    same = [name for name in DOCUMENTS.names if name not in ("doc_id", "captured_at", "published_on")]
    same = [name for name in same if not name.startswith("warc_")]
    assert from_arc.select(same).to_pylist() == from_warc.select(same).to_pylist()
    assert {moment.isoformat() for moment in from_arc["captured_at"].to_pylist()} == {"2010-05-18T09:00:00+00:00"}
    assert set(from_arc["warc_file"].to_pylist()) == {name}


def test_a_page_stored_alone_is_a_document(tmp_path: Path) -> None:
    body = html_page(ENGLISH["bread"]).encode()
    path = write_records(tmp_path / "a.warc.gz", ("resource", "http://a.example/", "text/html", body))
    (row,) = run(path).documents.to_pylist()
    assert (row["http_status"], row["mime"], row["html_bytes"]) == (None, "text/html", len(body))
    assert row["text"].startswith("How sourdough bread rises")


def test_cut_pages_are_documents_and_say_so(tmp_path: Path) -> None:
    pages = english_pages()[:3]
    body = b"%x\r\n%s" % (len(pages[0].body), pages[0].body[:1000])
    pages[0] = Page(pages[0].url, body, http_headers=(("Transfer-Encoding", "chunked"),))
    pages[1] = Page(pages[1].url, pages[1].body, warc_headers={"WARC-Truncated": "length"})
    path = tmp_path / "a.warc"
    places = write_warc(path, [english_pages()[3], *pages])
    path.write_bytes(path.read_bytes()[: places[-1].offset + places[-1].length - 300])
    result = run(path)
    assert result.documents["truncated"].to_pylist() == [False, True, True, True]
    assert result.metrics["bodies_cut"] == 2
    assert result.metrics["cut_by_crawler"] == 1
