"""What `--in role=…` of one stage becomes: each role of files opens them its own way."""

import json

import pytest

from flows.by_hand import fill_roles
from flows.stages import load_stage
from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Source, Stage
from infra.store import Store
from tests.infra.test_store import made
from tests.miniature import miniature_crawl


def names(stage: str, given: str, store: Store) -> list[str]:
    (source,) = fill_roles(load_stage(stage), [given], store).values()
    return [file.name for file in source.files]


def test_roles_of_files_open_what_is_named_as_their_stage_says(store, tmp_path):
    (tmp_path / "lists" / "adult").mkdir(parents=True)
    (tmp_path / "lists" / "adult" / "domains").write_text("a.example\n")
    (tmp_path / "lists" / "adult" / "usage").write_text("notes\n")
    assert names("url-lists", f"lists={tmp_path / 'lists'}", store) == ["adult/domains"]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "good.jsonl").write_text(json.dumps({"text": "x"}) + "\n")
    (tmp_path / "texts" / "notes.odt").write_text("notes")
    for role in ("positive_files", "negative_files"):
        assert names("quality-model", f"{role}={tmp_path / 'texts'}", store) == ["good.jsonl"]
    assert names("domain-model", f"labelled={tmp_path / 'texts'}", store) == ["good.jsonl"]
    assert names("word-lists", f"lists={tmp_path / 'texts'}", store) == ["good.jsonl", "notes.odt"]
    crawl = miniature_crawl(tmp_path / "crawl")
    (crawl / "notes.txt").write_text("notes")
    assert names("extract", f"crawl={crawl}", store) == sorted(file.name for file in crawl.glob("*.warc.gz"))


def test_a_role_of_files_takes_those_of_an_artifact(store):
    artifact = made(store, "a")
    (source,) = fill_roles(load_stage("extract"), ["crawl=word@latest"], store).values()
    assert source.artifact.ref == artifact.ref
    assert [file.sha256 for file in source.files] == sorted(entry.sha256 for entry in artifact.files())
    with pytest.raises(BadInput, match="its roles: crawl, url_lists, language_model"):
        fill_roles(load_stage("extract"), ["pages=word@latest"], store)


def test_an_opener_is_of_a_role():
    def nothing(files: Source, params: Params, out: Draft) -> None:
        """No stage."""

    opener = {"file": lambda places, digests: Source(())}
    with pytest.raises(TypeError, match="'file', which is not a role"):
        Stage(
            nothing,
            name="nothing",
            version=1,
            libraries=(),
            tables={},
            one_to_one=False,
            fingerprint=None,
            openers=opener,
        )
