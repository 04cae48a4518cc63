"""The sample crawl as a whole: readable by others, complete, and the same everywhere."""

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator
from warcio.digestverifyingreader import DigestChecker

from infra.store import Store
from tasks.sample_crawl import oddpages
from tasks.sample_crawl.build import DISTRIBUTIONS, SampleCrawlParams, SampleCrawlSummary, build
from tasks.sample_crawl.sources import SELECTIONS, _shapes_pages, environment_fingerprint, find
from tasks.sample_crawl.stage import sample_crawl

SMALL = SampleCrawlParams(distributions=("stdlib", "click", "idna", "no-such-distribution"), files=3, max_pages=120)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleCrawlSummary]:
    folder = tmp_path_factory.mktemp("crawl")
    return folder, build(folder, SMALL)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_another_process_in_another_place_writes_the_same_bytes(
    crawl: tuple[Path, SampleCrawlSummary], tmp_path: Path
) -> None:
    program = (
        "import json, sys; from pathlib import Path; from tasks.sample_crawl.build import *;"
        "build(Path(sys.argv[1]), SampleCrawlParams.model_validate(json.loads(sys.argv[2])))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    arguments = [sys.executable, "-c", program, str(tmp_path / "there"), SMALL.model_dump_json()]
    subprocess.run(arguments, check=True, cwd=tmp_path, env=environment)
    assert digests(tmp_path / "there") == digests(crawl[0])


def test_warcio_reads_every_record_and_verifies_its_digests(crawl: tuple[Path, SampleCrawlSummary]) -> None:
    folder, summary = crawl
    for path in sorted(folder.iterdir()):
        kinds: list[str] = []
        with path.open("rb") as file:
            for record in ArchiveIterator(file, check_digests="raise"):
                kinds.append(record.rec_type)
                record.content_stream().read()
                assert isinstance(record.digest_checker, DigestChecker)
                assert record.digest_checker.passed is True, record.rec_headers
        assert kinds == ["warcinfo", *["request", "response", "metadata"] * summary.files[path.name]]


def test_fastwarc_agrees_and_a_record_is_a_gzip_member(crawl: tuple[Path, SampleCrawlSummary]) -> None:
    folder, summary = crawl
    urls: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        with path.open("rb") as file:
            for record in FastIterator(file, record_types=WarcRecordType.response, parse_http=False):
                assert record.verify_block_digest()
                assert data[record.stream_pos : record.stream_pos + 10] == b"\x1f\x8b\x08" + bytes(6) + b"\x03"
                record.parse_http()
                assert record.verify_payload_digest()
                urls[record.headers["WARC-Target-URI"]] += 1
                assert "2026-09-07" <= record.headers["WARC-Date"] < "2026-09-25"
    assert urls.total() == sum(summary.captures.values()) == sum(summary.files.values())
    assert max(urls.values()) <= 2  # a page and its later capture


def test_a_small_crawl_has_every_kind_of_page(crawl: tuple[Path, SampleCrawlSummary]) -> None:
    kinds = crawl[1].captures
    documentation = {"module", "class", "function", "method", "gathered", "examples", "readme", "licence", "index"}
    assert sum(n for kind, n in kinds.items() if kind in documentation) <= 120
    assert {"index", "module", "class", "readme", "licence"} <= kinds.keys()
    assert crawl[1].distributions.keys() == {"python", "click", "idna"}
    assert {
        "archived",
        "redirect",
        "missing",
        "foreign",
        "spam",
        "charset",
        "markup",
        "truncated",
        "empty",
    } <= kinds.keys()
    assert {"200", "301", "404", "503"} <= crawl[1].statuses.keys()


def test_no_page_names_a_place_on_this_machine(crawl: tuple[Path, SampleCrawlSummary]) -> None:
    places = re.compile(rb"/usr/lib/python|site-packages/|" + re.escape(str(ROOT).encode()))
    for path in sorted(crawl[0].iterdir()):
        with path.open("rb") as file:
            for record in FastIterator(file, record_types=WarcRecordType.response):
                url = record.headers["WARC-Target-URI"]
                if "/stable/index.html" in url or "readme" in url:
                    assert not places.search(record.reader.read()), url


def test_odd_pages_have_addresses_of_their_own() -> None:
    captures = list(oddpages.captures())
    assert len({capture.url for capture in captures}) == len(captures)
    assert len({capture.charset for capture in captures}) > 15


def test_absent_distributions_are_skipped_and_listed_ones_are_unique(crawl: tuple[Path, SampleCrawlSummary]) -> None:
    assert find("no-such-distribution") is None
    assert "no-such-distribution" not in crawl[1].distributions
    assert len(set(DISTRIBUTIONS)) == len(DISTRIBUTIONS)


def test_the_fingerprint_tells_versions_and_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment_fingerprint()
    assert found == environment_fingerprint()
    assert re.fullmatch(r"3\.11\.\d+ [0-9a-f]{16}", found["python"])
    assert len(found) > len(SELECTIONS) // 2
    json.dumps(found)
    monkeypatch.setattr(importlib.metadata.Distribution, "version", "0.0.0")
    assert environment_fingerprint()["numpy"] != found["numpy"]


def test_the_stage_commits_what_the_builder_writes(store: Store, crawl: tuple[Path, SampleCrawlSummary]) -> None:
    artifact = sample_crawl.run(store, params=SMALL)
    names = {f"warc/{name}": digest for name, digest in digests(crawl[0]).items()}
    assert {name: hashlib.sha256(artifact.file(name).read_bytes()).hexdigest() for name in names} == names
    assert sample_crawl.run(store, params=SMALL).ref == artifact.ref


def test_the_folder_of_the_interpreter_makes_no_other_crawl() -> None:
    """pip writes it into the first line of scripts, and so into their digests in the RECORD."""
    assert not _shapes_pages("../../../bin/find_spark_home.py,sha256=vNksMVqsXbok,3948")
    assert _shapes_pages("pyspark/find_spark_home.py,sha256=vNksMVqsXbok,3948")
