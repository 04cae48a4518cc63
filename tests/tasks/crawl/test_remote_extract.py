"""`extract` over files behind a server that fails: the same rows as from the files themselves."""

import gzip
import json
import re
from pathlib import Path

import pytest

from infra.errors import SluiceError
from infra.store import Artifact, Store
from tasks.crawl import CrawlParams, crawl_source, open_crawl
from tasks.extract.stage import ExtractParams, extract
from tests.failing_server import FailingServer, Fault
from tests.miniature import miniature_crawl

ID = "CC-MAIN-2026-04"
SEGMENT = f"/crawl-data/{ID}/segments/1767225600.1/warc"
PARAMS = ExtractParams(part_bytes=8 << 10)  # five parts a file


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    return miniature_crawl(tmp_path / "crawl")


@pytest.fixture
def server(crawl: Path):
    files = {f"{SEGMENT}/{file.name}": file.read_bytes() for file in sorted(crawl.iterdir())}
    files[f"/crawl-data/{ID}/warc.paths.gz"] = gzip.compress("".join(f"{path[1:]}\n" for path in files).encode())
    with FailingServer(files) as one:
        yield one


def remote(server: FailingServer, store: Store, attempts: int = 4, **given: object):
    settings = {"base_url": server.url, "retry_seconds": 0.002, "timeout_seconds": 10, "attempts": attempts}
    source = crawl_source(CrawlParams.model_validate({**settings, "id": ID, **given}), store.digest_cache())
    assert source is not None
    return source


def rows(artifact: Artifact) -> list[tuple[str, str]]:
    """Every part file and its bytes."""
    return sorted((entry.path, entry.sha256) for entry in artifact.manifest.files)


def test_the_rows_are_those_of_local_files_whatever_fails(spark, crawl, server, store, tmp_path) -> None:
    local = extract.run(store, crawl=open_crawl(crawl, store.digest_cache()), params=PARAMS)
    files = [path for path in server.files if path.startswith(SEGMENT)]
    source = remote(server, store, attempts=8, timeout_seconds=1)
    server.faults[files[0]] = [
        Fault(status=503, retry_after="0"),
        Fault(cut_after=3000),
        Fault(reset=True),
        Fault(declared_length=500),
        Fault(ignore_range=True, cut_after=9000),
    ]
    server.faults[files[1]] = [Fault(declared_length=1 << 20), Fault(status=500), Fault(shift=7), Fault(hang=True)]
    fetched = extract.run(store, crawl=source, params=PARAMS)
    assert rows(fetched) == rows(local) and local.manifest.counts == fetched.manifest.counts
    assert local.part_count == fetched.part_count >= 6
    assert fetched.version != local.version  # known by size and ETag, not by digest
    assert [(file.etag, file.sha256) for file in fetched.manifest.inputs["crawl"]] == [
        (server.etag(path), None) for path in files
    ]
    assert fetched.manifest.metrics["fetch_retries"] >= 8
    assert not any(name.startswith("fetch_") for name in local.manifest.metrics)
    # From a server that ignores ranges altogether.
    for path in files:
        server.always[path] = Fault(ignore_range=True)
    other = Store(tmp_path / "other")
    assert rows(extract.run(other, crawl=remote(server, other), params=PARAMS)) == rows(local)


def test_a_run_that_gives_up_keeps_its_finished_parts(spark, server, store, tmp_path) -> None:
    first, second = sorted(path for path in server.files if path.startswith(SEGMENT))
    source = remote(server, store, attempts=2)
    server.always[second] = Fault(status=503)
    with pytest.raises(SluiceError, match=rf"{second}: the server answered 503; 2 attempts") as caught:
        extract.run(store, crawl=source, params=PARAMS)
    assert "\n" not in str(caught.value)
    markers = store.staging_path("extract", "x").parent.glob("*/parts/part-*.json")
    labels = [json.loads(marker.read_text())["part"]["label"] for marker in markers]
    finished = {int(re.search(r"\[(\d+):", label)[1]) for label in labels if first.endswith(label.partition("[")[0])}
    assert len(finished) >= 3
    del server.always[second]
    server.log.clear()
    made = extract.run(store, crawl=remote(server, store, attempts=2), params=PARAMS)
    assert not {asked.start for asked in server.log if asked.path == first} & (finished - {0})
    untouched = Store(tmp_path / "untouched")
    assert rows(extract.run(untouched, crawl=remote(server, untouched), params=PARAMS)) == rows(made)


def test_a_file_that_changes_under_a_run_ends_it_and_the_next_run_reads_the_new_one(spark, server, store) -> None:
    path = max(path for path in server.files if path.startswith(SEGMENT))
    other = min(path for path in server.files if path.startswith(SEGMENT))
    source = remote(server, store)
    server.files[path] = server.files[other]
    with pytest.raises(SluiceError, match="changed"):
        extract.run(store, crawl=source, params=PARAMS)
    made = extract.run(store, crawl=remote(server, store), params=PARAMS)
    assert {file.etag for file in made.manifest.inputs["crawl"]} == {server.etag(path)}


def test_credentials_are_written_nowhere(spark, server, store) -> None:
    path = min(path for path in server.files if path.startswith(SEGMENT))
    address = server.url.replace("http://", "http://me:hush@") + path + "?X-Amz-Signature=hush"
    made = extract.run(store, crawl=remote(server, store, id=None, paths=address))
    assert server.log[-1].headers["authorization"].startswith("Basic ")
    (file,) = made.manifest.inputs["crawl"]
    assert file.path == server.url + path
    written = [entry.read_bytes() for entry in store.root.rglob("*") if entry.is_file()]
    assert len(written) > 3 and not any(b"hush" in data for data in written)
