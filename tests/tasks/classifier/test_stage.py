import json
import logging
import os
import sys
from pathlib import Path

import pytest

from infra.errors import BadInput
from infra.launch import ChildError, run_child
from infra.stage import parse_params
from infra.store import Artifact, Store
from tasks.classifier.params import ClassifierParams, DomainModelParams, QualityModelParams, epochs_for
from tasks.classifier.prediction import Classifier, as_line, probabilities
from tasks.classifier.stage import train_classifier, train_domain_model, train_quality_model
from tasks.classifier.text_files import open_texts
from tasks.classifier.trainer import NO_THREAD_CACHE, REPOSITORY, TrainingRun, train
from tests.tasks.classifier.little_texts import BAD, GOOD, little_texts, rows
from tests.tasks.filters.prose import PROSE
from tests.tasks.raw_documents import raw_documents

SMALL = {"dim": 10, "bucket": 1000, "epoch": 20, "lr": 0.5, "min_examples": 5, "heldout": 0.2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def crawl(store: Store) -> Artifact:
    bad = rows("bad", little_texts(BAD, 90, 2))
    return raw_documents(store, [bad[:40], [], bad[40:]])


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.jsonl"
    lines = [
        json.dumps({"text": text, "url": f"http://good.example/{k}"})
        for k, text in enumerate(little_texts(GOOD, 60, 1))
    ]
    path.write_text("\n".join([*lines, "no json", json.dumps({"text": ""})]))
    return path


@pytest.fixture(scope="module")
def quality(store: Store, crawl: Artifact, good_file: Path) -> Artifact:
    files = open_texts([good_file], store.digest_cache())
    params = QualityModelParams.model_validate(SMALL)
    return train_quality_model.run(store, positive_files=files, negatives=[crawl], params=params)


def test_positives_from_a_file_and_negatives_from_a_crawl_are_told_apart(quality: Artifact) -> None:
    metrics, counts = quality.manifest.metrics, quality.manifest.counts
    assert metrics["auc"] > 0.95 and metrics["accuracy"] > 0.9
    assert (metrics["name"], metrics["labels"]) == ("quality", ["hq", "cc"])
    assert metrics["heldout_positives"] == metrics["texts"]["hq"]["heldout"] > 0
    assert counts.in_.n == 60 + 2 + 90
    assert counts.dropped == {"balance": 30, "not_json": 1, "empty_text": 1}
    assert metrics["texts"]["hq"]["train"] + metrics["texts"]["hq"]["heldout"] == 60
    model = Classifier(quality.store, quality.manifest)
    scores = probabilities(model.model_path, model.labels, [*little_texts(GOOD, 2, 9), "", *little_texts(BAD, 2, 9)])
    assert min(scores[:2, 0]) > 0.5 > max(scores[3:, 0])
    assert scores[2].tolist() == pytest.approx([float("nan")] * 2, nan_ok=True)


def test_every_example_is_in_the_lineage_by_reference(quality: Artifact, crawl: Artifact) -> None:
    examples = quality.read_table("examples").to_pylist()
    assert {one["source"] for one in examples} == {"good.jsonl", crawl.ref}
    assert quality.manifest.inputs["positive_files"][0].name == "good.jsonl"
    assert quality.manifest.parents == {"negatives": [crawl.ref]}
    for one in examples:
        if one["source"] == crawl.ref:
            held = crawl.read_part("documents", one["part"]).slice(one["row"], 1).to_pylist()[0]
            assert (held["doc_id"], held["url"]) == (one["doc_id"], one["url"])
        assert (one["probability"] is None) == (one["side"] == "train")
    right = [one["predicted"] == one["label"] for one in examples if one["side"] == "heldout"]
    assert sum(right) / len(right) == pytest.approx(quality.manifest.metrics["accuracy"], abs=1e-4)


def test_the_same_examples_give_the_same_bytes_elsewhere(quality: Artifact, good_file: Path, tmp_path: Path) -> None:
    again = Store(tmp_path / "again")
    bad = rows("bad", little_texts(BAD, 90, 2))
    crawl = raw_documents(again, [bad[:40], [], bad[40:]])
    files = open_texts([good_file], again.digest_cache())
    params = QualityModelParams.model_validate(SMALL)
    made = train_quality_model.run(again, positive_files=files, negatives=[crawl], params=params)
    assert made.ref == quality.ref
    assert made.manifest.files == quality.manifest.files  # path and sha256 of model and examples


DIRTY = """
import ctypes, runpy, sys
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
sizes = [size for size in (48, 400, 1000, 5000, 60000, 100000) for _ in range(50)]
blocks = [libc.malloc(size) for size in sizes]
for block, size in zip(blocks, sizes):
    ctypes.memset(block, 0x7F, size)
for block in blocks:
    libc.free(block)
sys.argv = ["trainer", sys.argv[1]]
runpy.run_module("tasks.classifier.trainer", run_name="__main__")
"""


def test_training_does_not_learn_from_old_memory(tmp_path: Path) -> None:
    pairs = zip(little_texts(GOOD, 30, 1), little_texts(BAD, 30, 2), strict=True)
    text = tmp_path / "train.txt"
    text.write_text("".join(f"__label__a {as_line(one)}\n__label__b {as_line(two)}\n" for one, two in pairs))
    options = {"lr": 0.1, "dim": 10, "epoch": 2, "minCount": 1, "wordNgrams": 2, "minn": 0, "maxn": 0, "bucket": 1000}
    run = TrainingRun(text=str(text), model=str(tmp_path / "m.bin"), seed=1, quantise=False, **options)
    train(run, tmp_path)
    clean = (tmp_path / "m.bin").read_bytes()
    environment = {**os.environ, "GLIBC_TUNABLES": NO_THREAD_CACHE, "PYTHONPATH": str(REPOSITORY)}
    run_child([sys.executable, "-c", DIRTY, str(tmp_path / "fasttext.json")], env=environment)
    assert (tmp_path / "m.bin").read_bytes() == clean


def test_an_allocator_that_hands_out_old_memory_is_refused(tmp_path: Path) -> None:
    settings = tmp_path / "fasttext.json"
    settings.write_text("{}")
    with pytest.raises(ChildError, match="does not hand out zeros"):  # glibc's cache of small blocks is left on
        run_child([sys.executable, "-m", "tasks.classifier.trainer", str(settings)], cwd=REPOSITORY)


def test_any_name_makes_a_classifier_of_two_classes(store: Store, crawl: Artifact) -> None:
    good = raw_documents(store, [rows("good", little_texts(GOOD, 60, 1))])
    params = ClassifierParams.model_validate({**SMALL, "name": "spam", "quantise": True, "balance": "repeat"})
    made = train_classifier.run(store, positives=[crawl], negatives=[good], params=params)
    assert (made.manifest.metrics["name"], made.manifest.metrics["model"]) == ("spam", "model.ftz")
    assert made.manifest.metrics["auc"] > 0.95
    assert made.manifest.counts.dropped == {}


def test_a_classifier_may_not_take_the_domain_models_name() -> None:
    with pytest.raises(Exception, match="belongs to domain-model"):
        parse_params(ClassifierParams, {"name": "domain"}, "classifier")


def test_a_class_without_texts_is_an_error(store: Store, crawl: Artifact) -> None:
    with pytest.raises(
        BadInput, match=r"no positives; give documents \(role positives\) or files \(role positive_files\)"
    ):
        train_quality_model.run(store, negatives=[crawl])
    with pytest.raises(BadInput, match="nothing to learn from"):
        train_domain_model.run(store)


def test_few_texts_are_read_more_often() -> None:
    assert (epochs_for(200_000), epochs_for(2_000), epochs_for(10)) == (5, 25, 50)


FORUM = "Posted by {0}\nJoined: May 2007\n" * 4
CODE = "def {0}(x):\n    return {0}(x - 1);\n" * 8


@pytest.fixture(scope="module")
def seeded(store: Store) -> Artifact:
    general = [f"{PROSE}\n{text}" for text in little_texts(GOOD, 60, 3)]
    code = [CODE.format(f"f{k}") + text for k, text in enumerate(little_texts(BAD, 20, 4))]
    forum = [FORUM.format(f"user{k}") + text for k, text in enumerate(little_texts(GOOD, 3, 5))]
    everything = [("general", general), ("code", code), ("forum", forum)]
    return raw_documents(store, [rows(kind, texts) for kind, texts in everything])


def test_domains_are_learnt_from_seeds_and_from_labels(
    store: Store, seeded: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labelled = tmp_path / "labelled.jsonl"
    books = [{"body": "CHAPTER I\n" + text, "kind": "books"} for text in little_texts(GOOD, 40, 6)]
    labelled.write_text("\n".join(map(json.dumps, [*books, {"body": "x", "kind": "multilingual"}, {"body": "y"}])))
    params = DomainModelParams.model_validate({**SMALL, "text_column": "body", "label_column": "kind"})
    files = open_texts([labelled], store.digest_cache())
    with caplog.at_level(logging.WARNING, logger="sluice.domain-model"):
        made = train_domain_model.run(store, documents=[seeded], labelled=files, params=params)
    metrics, counts = made.manifest.metrics, made.manifest.counts
    assert metrics["labels"] == ["general", "code", "books"]
    assert metrics["missing_domains"] == ["math", "news", "forums"]
    assert "domains left out, for want of 5 texts each: math, news, forums" in caplog.text
    assert counts.dropped == {"too_few_of_forums": 3, "bad_label": 1, "no_label": 1}
    assert metrics["accuracy"] > 0.9
    assert sum(sum(row.values()) for row in metrics["confusion"].values()) == sum(
        texts["heldout"] for texts in metrics["texts"].values()
    )
    whys = {one["label"]: one["why"] for one in made.read_table("examples").to_pylist()}
    assert whys["code"].startswith("signs: code_line_fraction") and whys["books"] is None


def test_only_so_many_parts_are_read(store: Store, crawl: Artifact, good_file: Path) -> None:
    files = open_texts([good_file], store.digest_cache())
    params = QualityModelParams.model_validate({**SMALL, "max_parts": 2})
    made = train_quality_model.run(store, positive_files=files, negatives=[crawl], params=params)
    sources = {(one["source"], one["part"]) for one in made.read_table("examples").to_pylist()}
    assert sources == {("good.jsonl", 0), (crawl.ref, 0)}  # parts 0 and 1 of 3, of which 1 is empty


def test_labels_in_a_text_are_text() -> None:
    assert as_line("one __label__hq\ntwo\r\n") == "one label hq two"
