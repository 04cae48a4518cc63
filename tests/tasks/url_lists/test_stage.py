"""The stage: accounts, selection, reuse; and lists as large as the real ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import BadConfig
from infra.store import Store
from infra.store.digests import DigestCache
from tasks.url_lists.lists import META, UrlLists, UrlListsArtifact
from tasks.url_lists.source import open_url_lists
from tasks.url_lists.stage import UrlListsParams, url_lists
from tests.tasks.url_lists.generated import source, write_lists

MAX_RSS_MB = 100  # that 4.5 million domains may add to a process


@pytest.fixture
def lists(tmp_path):
    root = tmp_path / "lists"
    for name, text in {
        "adult/domains": "a.com\nA.com\n\n# remark\ncom\nnot a host\n",
        "adult/urls": "b.com/x\nb.com\n",
        "malware/domains": "a.com\nm.com\n",
        "press/domains": "news.com\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return open_url_lists(root, DigestCache(tmp_path / "digests.json"))


def test_lines_are_entries_or_dropped_for_a_reason(store, lists):
    artifact = url_lists.run(store, lists=lists)
    counts = artifact.manifest.counts
    assert (counts.in_.unit, counts.in_.n, counts.out.unit, counts.out.n) == ("lines", 11, "entries", 5)
    assert counts.dropped == {"bad_host": 1, "blank": 1, "comment": 1, "public_suffix": 1, "repeated": 2}
    assert artifact.manifest.metrics["entries"] == {"adult": 3, "malware": 1, "press": 1}
    opened = UrlLists.open(UrlListsArtifact(store, artifact.manifest))
    assert opened.find("http://www.a.com/") == "adult"
    assert opened.find("http://www.b.com/") == "adult"
    assert opened.find("http://sub.b.com/") is None
    assert opened.find("http://m.com/") == "malware"


def test_categories_choose_lists_and_their_precedence(store, lists):
    opened = UrlLists.open(url_lists.run(store, lists=lists, params=UrlListsParams(categories=("malware", "adult"))))
    assert opened.names == ("malware", "adult")
    assert opened.find("http://a.com/") == "malware"
    assert opened.find("http://news.com/") is None
    with pytest.raises(BadConfig, match="no list 'spam'"):
        url_lists.run(store, lists=lists, params=UrlListsParams(categories=("spam",)))


def test_equal_lists_are_compiled_once(store, lists, tmp_path):
    first = url_lists.run(store, lists=lists)
    assert url_lists.run(store, lists=lists).ref == first.ref
    again = url_lists.run(Store(tmp_path / "other"), lists=lists)
    assert (again.ref, again.manifest.files) == (first.ref, first.manifest.files)


@pytest.mark.slow
def test_four_and_a_half_million_domains_fit_in_a_hundred_megabytes_and_answer_without_error(store, tmp_path):
    n = 4_500_000
    artifact = url_lists.run(store, lists=source(write_lists(tmp_path / "lists", n)))
    assert artifact.manifest.counts.out.n == n
    answer = subprocess.run(
        [sys.executable, "-m", "tests.tasks.url_lists.probe", str(artifact.file(META).parent), str(n), "100000"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    found = json.loads(answer.stdout)
    assert (found["entries"], found["asked"], found["wrong"]) == (n, 100_000, 0)
    assert found["rss_mb"] <= MAX_RSS_MB
