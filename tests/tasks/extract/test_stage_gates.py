"""The gates and backstops of `extract` in their place: each can be switched off, each has its reason in the account."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from infra.stage import Source
from infra.store import Store
from infra.store.digests import DigestCache
from tasks.extract import page as page_module
from tasks.extract.gates import Skip
from tasks.extract.params import ExtractParams, GatesParams
from tasks.extract.stage import BACKSTOPS, PartResult, extract, extract_part_records
from tasks.url_lists.stage import url_lists
from tests.miniature import ENGLISH, Page, html_page, write_warc
from tests.tasks.extract.test_page import FORM_PROSE
from tests.tasks.extract.test_plain import GERMAN

ARTICLE = html_page(ENGLISH["bread"]).encode()


def run(tmp_path: Path, pages: list[Page], params: ExtractParams) -> PartResult:
    path = tmp_path / "a.warc.gz"
    write_warc(path, pages)
    return extract_part_records(path, 0, path.stat().st_size, params, path.name)


def gates(**which: object) -> ExtractParams:
    return ExtractParams(gates=GatesParams.model_validate(which))


@pytest.mark.parametrize(
    ("gate", "pages", "reason"),
    [
        ("status", [Page("http://a.example/", ARTICLE, status=404)], "http_status"),
        ("mime", [Page("http://a.example/", ARTICLE, content_type="text/weird")], "mime"),
        ("repeated", [Page("http://a.example/1", ARTICLE), Page("http://a.example/2", ARTICLE)], "repeated_payload"),
        ("url_words", [Page("http://a.example/porn", ARTICLE)], "url_hard_word"),
        ("url_lists", [Page("https://pornhub.com/a", ARTICLE)], "url_list"),
    ],
)
def test_each_gate_can_be_switched_off(tmp_path: Path, gate: str, pages: list[Page], reason: str) -> None:
    result = run(tmp_path, pages, ExtractParams())
    assert result.dropped == {reason: 1}
    assert result.documents.num_rows == len(pages) - 1
    off = {"url_lists": False, "url_words": False} if gate.startswith("url") else {gate: False}
    assert run(tmp_path, pages, gates(**off)).dropped == {}


def test_no_gate_looks_at_language_unless_told_to(tmp_path: Path) -> None:
    pages = [
        Page("http://a.example/de", GERMAN.encode()),
        Page("http://a.example/en", ARTICLE),
        Page("http://a.example/moved", b"<html><body><p>Moved to another address, see there.</p></body></html>"),
    ]
    assert run(tmp_path, pages, ExtractParams()).documents.num_rows == 3
    result = run(tmp_path, pages, gates(languages=["en"], min_plain_words=20))
    assert result.documents["url"].to_pylist() == ["http://a.example/en"]
    assert result.dropped == {"plain_language": 1, "plain_words": 1}
    assert run(tmp_path, pages, gates(languages=["en"], min_plain_words=0, min_language_score=0)).dropped == {}


def test_cheap_gates_come_before_dear_ones(tmp_path: Path) -> None:
    bad_in_every_way = Page("http://a.example/porn", b"\x89PNG\r\n\x1a\n", status=404, content_type="image/png")
    order = []
    for gate in ("status", "mime", "url_words"):
        params = gates(languages=["en"], **dict.fromkeys(order, False))
        ((reason, _),) = run(tmp_path, [bad_in_every_way], params).dropped.items()
        assert reason == {"status": "http_status", "mime": "mime", "url_words": "url_hard_word"}[gate]
        order.append(gate)
    assert run(tmp_path, [bad_in_every_way], gates(languages=["en"], **dict.fromkeys(order, False))).dropped == {
        "plain_words": 1
    }


def test_a_document_says_who_found_its_text_and_what_it_declares(tmp_path: Path) -> None:
    head = '<meta name="author" content="Ada Lovelace"><meta property="article:published_time" content="2023-02-01">'
    pages = [
        Page("http://a.example/1", html_page(ENGLISH["bread"], head=head).encode()),
        Page("http://a.example/2", FORM_PROSE.encode()),
    ]
    result = run(tmp_path, pages, ExtractParams())
    rows = result.documents.select(["extractor", "author", "published_on"]).to_pylist()
    assert [(row["extractor"], row["author"], str(row["published_on"])) for row in rows] == [
        ("trafilatura", "Ada Lovelace", "2023-02-01"),
        ("resiliparse", None, "None"),
    ]
    assert (result.metrics["extracted_by_trafilatura"], result.metrics["extracted_by_resiliparse"]) == (1, 1)
    assert run(tmp_path, pages, ExtractParams(fallback_words=0)).dropped == {"empty_text": 1}


def test_each_backstop_is_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(html: str, *_args: object, **_about: object) -> Skip:
        if "CRASH" in html:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "MEMORY" in html:
            bytearray(8 << 30)
        while "HANG" in html:
            pass
        return Skip("empty_text")

    monkeypatch.setattr(page_module, "extract_page", hostile)
    pages = [Page(f"http://a.example/{word}", f"<p>{word}".encode()) for word in ("CRASH", "MEMORY", "HANG", "fine")]
    result = run(tmp_path, pages, ExtractParams(max_cpu_seconds=1, max_memory_mb=256))
    reasons = [(row["reason"], row["detail"]) for row in result.skipped.to_pylist()]
    assert reasons == [
        ("extraction_crash", "SIGSEGV"),
        ("extraction_memory", "256 MiB"),
        ("extraction_timeout", "1 s of CPU time"),
        ("empty_text", ""),
    ]
    assert {name: result.metrics[name] for name in BACKSTOPS} == dict.fromkeys(BACKSTOPS, 1)


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("<p>" * 300_000, "too_many_tags"),
        ("<html><body>" + "<div>" * 100_000 + "text", "too_deep"),
        ("<table>" + "<tr><td colspan=1000 rowspan=1000>a</td></tr>" * 1_000 + "</table>", "too_many_tags"),
        ("<p " + " ".join(f"a{k}" for k in range(100_000)) + ">text", "too_many_attributes"),
    ],
)
def test_budgets_decide_before_backstops(tmp_path: Path, html: str, reason: str) -> None:
    result = run(
        tmp_path,
        [Page("http://a.example/", html.encode())],
        gates(languages=["en"], min_plain_words=0, min_language_score=0),
    )
    assert result.dropped == {reason: 1}
    assert not Counter(result.metrics).keys() & set(BACKSTOPS)


def test_lists_of_the_users_are_asked_after_the_built_in_ones(tmp_path: Path, spark: object) -> None:
    folder = tmp_path / "lists" / "spam"
    folder.mkdir(parents=True)
    (folder / "domains").write_text("bad.example\n", encoding="utf-8")
    crawl_file = tmp_path / "a.warc.gz"
    write_warc(crawl_file, [Page("http://bad.example/1", ARTICLE), Page("http://good.example/1", ARTICLE + b" ")])
    store = Store(tmp_path / "store")
    digests = DigestCache(tmp_path / "digests.json")
    lists = url_lists.run(store, lists=Source.of_files([folder / "domains"], digests))
    crawl = Source.of_files([crawl_file], digests)
    extracted = extract.run(store, crawl=crawl, url_lists=lists)
    assert extracted.manifest.counts.dropped == {"url_list": 1}
    assert extracted.read_table("skipped")["detail"].to_pylist() == ["domains: bad.example"]
    assert extract.run(store, crawl=crawl).manifest.counts.dropped == {}
