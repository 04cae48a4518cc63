"""Opening a crawl: by folder, glob or list; errors in one line before any work."""

import shutil
from pathlib import Path

import pytest

from infra.errors import BadInput
from infra.store.digests import DigestCache
from tasks.crawl import open_crawl
from tests.miniature import english_pages, miniature_crawl, write_warc


@pytest.fixture
def digests(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "digests.json")


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    return miniature_crawl(tmp_path / "crawl")


def test_a_crawl_is_the_same_set_however_it_is_named(crawl: Path, digests: DigestCache) -> None:
    names = [file.name for file in open_crawl(crawl, digests).files]
    assert names == sorted(path.name for path in crawl.iterdir())
    key = open_crawl(crawl, digests).key()
    assert open_crawl(str(crawl / "*.gz"), digests).key() == key
    assert open_crawl(sorted(crawl.iterdir(), reverse=True), digests).key() == key
    moved = crawl.rename(crawl.parent / "moved")
    assert open_crawl([str(moved)], digests).key() == key


def test_folders_are_searched_for_warc_files_only(crawl: Path, digests: DigestCache) -> None:
    (crawl / "notes.txt").write_text("not a crawl")
    write_warc(crawl / "deeper" / "plain.warc", english_pages()[:1])
    assert [file.name for file in open_crawl(crawl, digests).files][-1] == "plain.warc"
    assert len(open_crawl(crawl, digests).files) == 3


def test_the_same_file_twice_is_one(crawl: Path, digests: DigestCache) -> None:
    file = sorted(crawl.iterdir())[0]
    copy = crawl / "copy" / file.name
    copy.parent.mkdir()
    shutil.copy(file, copy)
    assert len(open_crawl([crawl, file, copy], digests).files) == 2


def test_a_named_file_needs_no_suffix(crawl: Path, digests: DigestCache) -> None:
    file = sorted(crawl.iterdir())[0].rename(crawl / "segment-00")
    assert [entry.name for entry in open_crawl(file, digests).files] == ["segment-00"]


@pytest.mark.parametrize(
    ("make", "where", "message"),
    [
        (lambda at: None, "missing", "no such file or folder"),
        (lambda at: (at / "empty").mkdir(), "empty", "no WARC file in this folder"),
        (lambda at: None, "*.warc.gz", "no WARC file matches"),
        (lambda at: (at / "x.warc.gz").write_text("just text\n" * 50), "x.warc.gz", "not a WARC file"),
        (lambda at: (at / "x.warc.gz").write_bytes(b""), "x.warc.gz", "the file is empty"),
    ],
)
def test_bad_input_is_one_line_that_names_the_place(tmp_path: Path, digests: DigestCache, make, where, message) -> None:
    make(tmp_path)
    with pytest.raises(BadInput, match=message) as caught:
        open_crawl(str(tmp_path / where), digests)
    assert where in str(caught.value) and "\n" not in str(caught.value)


def test_one_bad_file_among_good_ones_is_named(crawl: Path, digests: DigestCache) -> None:
    (crawl / "zzz.warc.gz").write_text("just text")
    with pytest.raises(BadInput, match=r"zzz\.warc\.gz: not a WARC file"):
        open_crawl(crawl, digests)


def test_no_paths_at_all(digests: DigestCache) -> None:
    with pytest.raises(BadInput, match="names no files"):
        open_crawl([], digests)
