"""From what a user names to files: lists, addresses, crawl ids, and what is wrong with them."""

import gzip
from pathlib import Path

import pytest

from infra.errors import BadInput, SluiceError
from infra.store.digests import DigestCache
from tasks.crawl import CrawlParams, check_places, crawl_source, open_crawl
from tasks.crawl.places import crawl_locations, locations
from tests.failing_server import FailingServer, Fault
from tests.miniature import miniature_crawl

ID = "CC-MAIN-2026-04"
SEGMENT = f"/crawl-data/{ID}/segments/1767225600.1/warc"


@pytest.fixture
def digests(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "digests.json")


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    return miniature_crawl(tmp_path / "crawl")


@pytest.fixture
def server(crawl: Path):
    files = {f"{SEGMENT}/{file.name}": file.read_bytes() for file in sorted(crawl.iterdir())}
    listing = "".join(f"{path[1:]}\n" for path in files)
    files[f"/crawl-data/{ID}/warc.paths.gz"] = gzip.compress(listing.encode())
    with FailingServer(files) as one:
        yield one


def hasty(server: FailingServer, **given: object) -> CrawlParams:
    settings = {"base_url": server.url, "attempts": 3, "retry_seconds": 0.002, "timeout_seconds": 10}
    return CrawlParams.model_validate({**settings, **given})


def names(source) -> list[str]:
    return [file.name for file in source.files]


def test_a_list_names_files_beside_it_and_elsewhere(
    crawl: Path, server: FailingServer, digests: DigestCache, tmp_path: Path
) -> None:
    first, second = sorted(crawl.iterdir())
    elsewhere = tmp_path / "elsewhere.warc.gz"
    elsewhere.write_bytes(first.read_bytes())
    text = f"# what to read\n\ncrawl/{first.name}\n  {elsewhere}  \n{server.url}{SEGMENT}/{second.name}\n"
    (tmp_path / "list.txt").write_text(text)
    (tmp_path / "list.paths.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("list.txt", "list.paths.gz"):
        source = open_crawl(tmp_path / name, digests, hasty(server))
        assert names(source) == [first.name, second.name, elsewhere.name]
        kept = [(file.sha256 is None, file.etag is None) for file in source.files]
        assert kept == [(False, True), (True, False), (False, True)]


def test_lines_of_common_crawl_are_relative_to_its_server(
    server: FailingServer, digests: DigestCache, tmp_path: Path
) -> None:
    path = next(iter(server.files))
    (tmp_path / "some.paths").write_text(path[1:])
    assert locations(str(tmp_path / "some.paths"), CrawlParams()) == [f"https://data.commoncrawl.org{path}"]
    (file,) = open_crawl(tmp_path / "some.paths", digests, hasty(server)).files
    assert (file.bytes, file.etag) == (len(server.files[path]), server.etag(path))


def test_lines_of_a_remote_list_are_relative_to_it(server: FailingServer) -> None:
    server.files["/lists/a.txt"] = b"b/c.warc.gz\n/d.warc.gz\nhttps://example.org/e.arc.gz\ncrawl-data/f.warc.gz\n"
    found = locations(f"{server.url}/lists/a.txt", hasty(server, base_url="s3://commoncrawl"))
    there = server.url
    assert found == [
        f"{there}/lists/b/c.warc.gz",
        f"{there}/d.warc.gz",
        "https://example.org/e.arc.gz",
        "s3://commoncrawl/crawl-data/f.warc.gz",
    ]


def test_a_crawl_by_its_id(server: FailingServer, crawl: Path, digests: DigestCache) -> None:
    server.always[f"/crawl-data/{ID}/warc.paths.gz"] = Fault(ignore_range=True)
    source = crawl_source(hasty(server, id=ID), digests)
    assert source is not None and names(source) == sorted(file.name for file in crawl.iterdir())
    assert [file.identity for file in source.files] == [
        {"name": path.rpartition("/")[2], "bytes": len(server.files[path]), "etag": server.etag(path)}
        for path in sorted(server.files)
        if path.startswith(SEGMENT)
    ]
    assert source.access is not None and source.access.attempts == 3
    assert len(crawl_source(hasty(server, id=ID, max_files=1), digests).files) == 1
    assert crawl_source(CrawlParams(), digests) is None


def test_a_mirror_in_a_folder(server: FailingServer, tmp_path: Path, digests: DigestCache) -> None:
    for path, data in server.files.items():
        (tmp_path / "mirror" / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path[1:]).write_bytes(data)
    source = crawl_source(CrawlParams(id=ID, base_url=str(tmp_path / "mirror")), digests)
    assert source is not None and all(file.sha256 for file in source.files) and len(source.files) == 2


def test_an_unknown_crawl_says_what_was_asked(server: FailingServer, tmp_path: Path) -> None:
    for base in (server.url, str(tmp_path)):
        with pytest.raises(BadInput) as caught:
            crawl_locations(hasty(server, id="CC-MAIN-2026-99", kind="wet", base_url=base))
        text = str(caught.value)
        assert text.startswith("crawl.id=CC-MAIN-2026-99 (wet files)") and "\n" not in text
        assert f"{base}/crawl-data/CC-MAIN-2026-99/wet.paths.gz" in text and "collinfo.json" in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"# nothing\n"), "the list names no files"),
        (b"<html>", "not sound gzip"),
        (gzip.compress(b"a.warc.gz\n" * 1000)[:-9], "not sound gzip"),
        (gzip.compress(b"\xff\xfe"), "not text in UTF-8"),
    ],
)
def test_a_list_that_is_none(server: FailingServer, data: bytes, message: str) -> None:
    server.files[f"/crawl-data/{ID}/warc.paths.gz"] = data
    with pytest.raises(BadInput, match=message):
        crawl_locations(hasty(server, id=ID))


def test_a_line_without_its_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# c\nnone.warc.gz\n")
    with pytest.raises(BadInput, match=r"list\.txt, line 2: .*none\.warc\.gz: no such file"):
        check_places(CrawlParams(paths=str(tmp_path / "list.txt")))


def test_one_missing_file_among_many_stops_before_any_work(
    server: FailingServer, digests: DigestCache, tmp_path: Path
) -> None:
    paths = [path for path in server.files if path.startswith(SEGMENT)]
    server.always[paths[1]] = Fault(status=404)
    with pytest.raises(BadInput, match=f"{paths[1]}: there is no such file"):
        crawl_source(hasty(server, id=ID), digests)
    server.always[paths[1]] = Fault(status=503)
    with pytest.raises(SluiceError, match=f"{paths[1]}: the server answered 503; 3 attempts"):
        crawl_source(hasty(server, id=ID), digests)


def test_a_page_in_the_place_of_a_file_is_found_by_its_head(server: FailingServer, digests: DigestCache) -> None:
    path = f"{SEGMENT}/x.warc.gz"
    server.files[path] = b"<html>Please log in</html>" * 1000
    with pytest.raises(BadInput, match=f"{path}: not a WARC file"):
        open_crawl(server.url + path, digests, hasty(server))
    assert server.bytes_asked(path) == 8192


def test_a_file_is_asked_for_once_a_day(server: FailingServer, digests: DigestCache, monkeypatch) -> None:
    path = next(iter(server.files))
    one = open_crawl(server.url + path, digests, hasty(server))
    again = open_crawl(server.url + path, DigestCache(digests._path), hasty(server))
    assert one.key() == again.key() and len(server.log) == 1
    later = DigestCache(digests._path)
    later.forget(server.url + path)
    open_crawl(server.url + path, later, hasty(server))
    assert len(server.log) == 2
    import time

    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr("infra.store.digests.time.time", lambda: tomorrow)
    open_crawl(server.url + path, DigestCache(digests._path), hasty(server))
    assert len(server.log) == 3


def test_addresses_that_name_no_file(server: FailingServer) -> None:
    with pytest.raises(BadInput, match="an empty path"):
        locations(" ", CrawlParams())
    with pytest.raises(BadInput, match="addresses begin with https://"):
        locations("ftp://example.org/a.warc.gz", CrawlParams())
    with pytest.raises(BadInput, match="names no file"):
        locations("https://example.org/folder/", CrawlParams())
    with pytest.raises(BadInput, match="none of 2 files is drawn"):
        crawl_source(hasty(server, id=ID, sample_files=1e-9), DigestCache(Path("nowhere")))


def test_a_bucket_is_searched_below_a_prefix(server: FailingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server.files["/bucket/a/notes.txt"] = b""
    server.files["/bucket/a/b/c.warc.wet.gz"] = b""
    params = hasty(server, s3_endpoint=server.url)
    assert locations("s3://bucket/a/", params) == ["s3://bucket/a/b/c.warc.wet.gz"]
    with pytest.raises(BadInput, match="no WARC file below it"):
        locations("s3://bucket/none/", params)


def test_places_are_checked_without_asking_servers(crawl: Path, tmp_path: Path) -> None:
    check_places(CrawlParams(paths=(str(crawl), "https://no.example/x.warc.gz", "https://no.example/list.txt")))
    check_places(CrawlParams(id=ID))
    with pytest.raises(BadInput, match=r"warc\.paths\.gz: cannot be read \(No such file"):
        check_places(CrawlParams(id=ID, base_url=str(tmp_path)))
    (crawl / "x.warc.gz").write_text("not one")
    with pytest.raises(BadInput, match=r"x\.warc\.gz: not a WARC file"):
        check_places(CrawlParams(paths=(str(crawl), "https://no.example/x.warc.gz")))
    with pytest.raises(BadInput, match="no such file or folder"):
        check_places(CrawlParams(paths=str(tmp_path / "missing")))
