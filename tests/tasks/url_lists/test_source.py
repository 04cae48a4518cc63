"""Finding lists in a folder as UT1 packs them, or flat."""

import gzip

import pytest

from infra.errors import BadInput
from infra.store.digests import DigestCache
from tasks.url_lists.source import category_of, names_hosts_only, open_url_lists


@pytest.fixture
def digests(tmp_path):
    return DigestCache(tmp_path / "digests.json")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "blacklists"
    for name, text in {
        "adult/domains": "a.com\n",
        "adult/urls": "b.com/x\n",
        "adult/expressions": "(porn|sex)",
        "adult/usage": "black",
        "malware/domains": "a.com\n",  # equal bytes, another list
        "mine.txt": "c.com\n",
        "README.txt": "how to use",
        "global_usage": "text",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "press").mkdir()
    (root / "press" / "domains.gz").write_bytes(gzip.compress(b"d.com\n", mtime=0))
    (root / "porn").symlink_to("adult")
    return root


def test_files_are_named_by_category_and_links_and_other_files_left_out(folder, digests):
    names = [file.name for file in open_url_lists(folder, digests).files]
    assert names == ["adult/domains", "adult/urls", "malware/domains", "mine.txt", "press/domains.gz"]
    assert [category_of(name) for name in names] == ["adult", "adult", "malware", "mine", "press"]
    assert [names_hosts_only(name) for name in names] == [False, True, False, False, False]


def test_categories_choose_and_an_unknown_one_is_an_error(folder, digests):
    source = open_url_lists(folder, digests, ["mine", "adult"])
    assert [file.name for file in source.files] == ["adult/domains", "adult/urls", "mine.txt"]
    with pytest.raises(BadInput, match=r"no category 'gambling'; there are adult, malware, mine, press"):
        open_url_lists(folder, digests, ["gambling"])


def test_neither_place_nor_depth_of_the_folder_is_in_the_key(folder, digests):
    key = open_url_lists(folder, digests).key()
    moved = folder.rename(folder.parent / "moved")
    assert open_url_lists(str(moved), digests).key() == key
    one = open_url_lists([moved / "adult", moved / "mine.txt"], digests)
    assert [file.name for file in one.files] == ["adult/domains", "adult/urls", "mine.txt"]


def test_what_holds_no_lists_is_an_error_in_one_line(tmp_path, digests):
    with pytest.raises(BadInput, match="no such folder"):
        open_url_lists(tmp_path / "nowhere", digests)
    with pytest.raises(BadInput, match="no URL lists"):
        open_url_lists(tmp_path, digests)
