"""Compiled lists: on disk as in memory, precedence, damage."""

import gzip
import json

import pytest

from infra.errors import BadInput
from tasks.url_lists.lists import BUILTIN, META, Compiler, UrlLists, builtin_lists
from tests.tasks.url_lists.generated import domain


def compiled(folder, lists):
    compiler = Compiler(list(lists))
    for name, lines in lists.items():
        compiler.add(name, [line.encode() for line in lines])
    folder.mkdir()
    compiler.compiled().write(folder)
    return folder


def test_what_several_lists_name_belongs_to_the_first(tmp_path):
    names = {"b": ["example.com", "both.com"], "a": ["both.com", "other.com"]}
    for lists in (UrlLists.of_lines(names), UrlLists.open_folder(compiled(tmp_path / "x", names))):
        assert lists.names == ("b", "a")
        assert lists.find("http://both.com/") == "b"
        assert lists.find("http://other.com/") == "a"
        assert lists.entries == {"b": 2, "a": 1}


def test_the_entry_is_named_beside_the_list():
    lists = UrlLists.of_lines({"x": ["example.com", "example.org/a"]})
    assert lists.match("http://deep.sub.example.com/") == ("x", "example.com")
    assert lists.match("http://www.example.org/A/b?c") == ("x", "example.org/a")
    assert lists.match("http://example.net/") is None


def test_every_domain_is_found_and_no_other(tmp_path):
    n = 20_000
    lists = UrlLists.open_folder(compiled(tmp_path / "x", {"all": [domain(k) for k in range(n)]}))
    assert len(lists) == n
    assert all(lists.find(f"http://x.{domain(k)}/") == "all" for k in range(n))
    assert not any(lists.find(f"http://{domain(k)}/") for k in range(n, 2 * n))


def test_more_than_256_lists_are_numbered_by_two_bytes(tmp_path):
    folder = compiled(tmp_path / "x", {f"list{k:03d}": [domain(k)] for k in range(300)})
    assert (folder / "list_ids.u16").stat().st_size == 600
    lists = UrlLists.open_folder(folder)
    assert [lists.find(f"http://{domain(k)}/") for k in (0, 255, 256, 299)] == [
        "list000",
        "list255",
        "list256",
        "list299",
    ]


def test_lists_without_entries_name_nothing(tmp_path):
    assert UrlLists.open_folder(compiled(tmp_path / "x", {"none": ["# nothing"]})).find("http://example.com/") is None
    assert UrlLists.of_lines({}).find("http://example.com/") is None


def test_equal_lists_give_equal_bytes_whatever_the_order_of_their_lines(tmp_path):
    lines = [domain(k) for k in range(500)]
    one = compiled(tmp_path / "one", {"a": lines})
    two = compiled(tmp_path / "two", {"a": lines[::-1]})
    assert [file.read_bytes() for file in sorted(one.iterdir())] == [
        file.read_bytes() for file in sorted(two.iterdir())
    ]


def test_a_cut_file_is_refused(tmp_path):
    folder = compiled(tmp_path / "x", {"a": ["example.com", "example.org"]})
    (folder / "hashes.u64").write_bytes(b"12345678")
    with pytest.raises(BadInput, match="8 bytes, not 16"):
        UrlLists.open_folder(folder)


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no compiled URL lists"):
        UrlLists.open_folder(tmp_path)


def test_lists_are_mapped_once_a_process(tmp_path):
    folder = compiled(tmp_path / "x", {"a": ["example.com"]})
    assert UrlLists.open_folder(folder) is UrlLists.open_folder(folder)
    assert json.loads((folder / META).read_text())["shape"] == {"depth": -1, "queries": False, "top_labels": False}


def test_a_gzip_that_is_cut_is_an_error_and_not_a_shorter_list(tmp_path):
    whole = gzip.compress(b"\n".join(domain(k).encode() for k in range(1000)))
    (tmp_path / "whole").write_bytes(whole)
    (tmp_path / "cut").write_bytes(whole[:-400])
    compiler = Compiler(["a"])
    compiler.add_file("a", tmp_path / "whole")
    assert len(compiler.compiled().hashes) == 1000
    with pytest.raises(BadInput, match="fetch the list again"):
        compiler.add_file("a", tmp_path / "cut")


def test_every_line_of_the_builtin_lists_names_something():
    lists = builtin_lists()
    lines = [line for file in BUILTIN.glob("*.txt") for line in file.read_text().splitlines() if line[:1] != "#"]
    assert len(lists) == len(lines) > 100
    assert lists.match("https://m.bet365.com/en/") == ("builtin/gambling", "bet365.com")
    assert lists.find("https://en.wikipedia.org/wiki/Bet365.com") is None
