import json
from typing import Any

import pyarrow as pa
import pytest

from infra.errors import BadConfig, BadInput
from infra.params import Runtime
from infra.store import Artifact, Store
from tasks.classifier.params import ClassifierParams, DomainModelParams, QualityModelParams
from tasks.classifier.prediction import Classifier
from tasks.classifier.stage import train_classifier, train_domain_model, train_quality_model
from tasks.documents import columns_of, open_part
from tasks.filters.rules import Rule
from tasks.filters.verdicts import explain
from tasks.mix import MixParams, mix
from tasks.score import SCORES_SCHEMA, ScoreParams, score, score_documents, score_names
from tasks.select import SelectParams, select
from tests.tasks.classifier.little_texts import BAD, GOOD, little_texts, rows
from tests.tasks.filters.prose import PROSE
from tests.tasks.raw_documents import raw_documents

SMALL = {"dim": 10, "bucket": 1000, "epoch": 20, "lr": 0.5, "min_examples": 5, "heldout": 0.2}
CODE = "def {0}(x):\n    return {0}(x - 1);\n" * 8
MIXED = [*rows("g", little_texts(GOOD, 20, 11)), ("empty", None, " "), *rows("b", little_texts(BAD, 20, 12))]
TWO = Runtime(cores=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("score"))


@pytest.fixture(scope="module")
def models(store: Store) -> dict[str, Artifact]:
    good = raw_documents(store, [rows("good", little_texts(GOOD, 60, 1))])
    bad = raw_documents(store, [rows("bad", little_texts(BAD, 60, 2))])
    texts = [("p", [f"{PROSE}\n{one}" for one in little_texts(GOOD, 40, 3)])]
    texts += [("c", [CODE.format(f"f{k}") + one for k, one in enumerate(little_texts(BAD, 40, 4))])]
    seeded = raw_documents(store, [rows(kind, some) for kind, some in texts])
    spam = ClassifierParams.model_validate({**SMALL, "name": "spam"})
    return {
        "quality": train_quality_model.run(
            store, positives=[good], negatives=[bad], params=QualityModelParams.model_validate(SMALL)
        ),
        "spam": train_classifier.run(store, positives=[bad], negatives=[good], params=spam),
        "domain": train_domain_model.run(store, documents=[seeded], params=DomainModelParams.model_validate(SMALL)),
    }


@pytest.fixture(scope="module")
def documents(store: Store) -> Artifact:
    return raw_documents(store, [MIXED[:15], [], MIXED[15:]])


@pytest.fixture(scope="module")
def scored(spark: Any, store: Store, models: dict[str, Artifact], documents: Artifact) -> Artifact:
    return score.run(store, documents=documents, models=list(models.values()), runtime=TWO)


def column(artifact: Artifact, name: str) -> list:
    return [value for k in range(artifact.part_count) for value in open_part(artifact, k, [name])[name].to_pylist()]


def test_every_model_fills_its_column_along_the_lineage(scored: Artifact) -> None:
    assert set(columns_of(scored)) >= {"quality", "spam", "domain", "domain_score", "text", "url"}
    assert scored.manifest.counts.out.n == len(MIXED)
    quality, spam = column(scored, "quality"), column(scored, "spam")
    assert min(quality[:20]) > 0.5 > max(quality[21:])
    assert max(spam[:20]) < 0.5 < min(spam[21:])
    assert quality[20] is spam[20] is column(scored, "domain")[20] is None  # a text without words
    assert all(round(value, 4) == pytest.approx(value, abs=1e-7) for value in quality if value is not None)


def test_scores_of_models_that_are_not_there_are_no_columns(
    spark: Any, store: Store, models: dict[str, Artifact], documents: Artifact
) -> None:
    only = score.run(store, documents=documents, models=[models["spam"]])
    assert only.manifest.metrics["scores"] == ["spam"]
    assert not {"quality", "domain"} & set(columns_of(only))
    with pytest.raises(BadConfig, match="no signal 'quality'"):
        select.run(store, documents=only)
    assert open_part(only, 0, ["spam"]).num_rows == 15


def test_two_models_of_one_name_or_a_name_that_is_taken_are_refused(
    spark: Any, store: Store, models: dict[str, Artifact], documents: Artifact, scored: Artifact
) -> None:
    with pytest.raises(BadInput, match="two models are called 'quality'"):
        score_names([Classifier(store, models["quality"].manifest)] * 2)
    with pytest.raises(BadInput, match="already holds a column 'quality'"):
        score.run(store, documents=scored, models=[models["quality"]])
    url = ClassifierParams.model_validate({**SMALL, "name": "url"})
    parents = [
        raw_documents(store, [rows(kind, little_texts(words, 60, 1))]) for kind, words in (("a", GOOD), ("b", BAD))
    ]
    odd = train_classifier.run(store, positives=[parents[0]], negatives=[parents[1]], params=url)
    with pytest.raises(BadInput, match="already holds a column 'url'"):
        score.run(store, documents=documents, models=[odd])


def test_domains_need_certainty_and_another_language_is_multilingual(store: Store, models: dict[str, Artifact]) -> None:
    model = Classifier(store, models["domain"].manifest)
    texts = [CODE.format("g"), CODE.format("h"), CODE.format("i"), f"{PROSE}\n{little_texts(GOOD, 1, 3)[0]}", ""]
    table = pa.table(
        {
            "doc_id": list("abcde"),
            "row": pa.array(range(5), pa.int32()),
            "text": texts,
            "language": ["en", "de", "de", None, None],
            "language_score": pa.array([0.9, 0.9, 0.5, None, None], pa.float32()),
        }
    )
    made = score_documents(table, [model], ScoreParams())
    assert made.schema == SCORES_SCHEMA
    assert made.column("domain").to_pylist() == ["code", "multilingual", "code", "general", None]
    assert made.column("domain_score").to_pylist()[1] == pytest.approx(0.9)
    half = table.slice(0, 1).set_column(2, "text", [[f"{PROSE}\n{CODE.format('z')}"]])
    unsure = score_documents(half, [model], ScoreParams(min_domain_probability=1.0))
    assert unsure.column("domain").to_pylist() == ["general"]
    assert made.column("quality").null_count == 5


def test_select_keeps_the_best_tenth_and_says_the_number(spark: Any, scored: Artifact) -> None:
    kept = select.run(scored.store, documents=scored)
    quality = sorted(value for value in column(scored, "quality") if value is not None)
    (rule,) = kept.manifest.metrics["rules"]
    assert rule["threshold"] == pytest.approx(quality[36], abs=1e-6)  # 40 scored texts: 4 are the best tenth
    assert kept.manifest.counts.dropped == {"quality": sum(value < quality[36] for value in quality)}
    rejected = kept.read_table("rejected").to_pylist()
    assert all(row["value"] < row["threshold"] == rule["threshold"] for row in rejected)
    (verdict,) = explain(kept, 2, rejected[-1]["row"])
    assert verdict.fired and verdict.rule.threshold == rule["threshold"]
    assert "empty" in kept.read_table("kept").column("doc_id").to_pylist()  # a null fires no rule


def test_named_scores_groups_and_signals_are_decided_on_alike(spark: Any, scored: Artifact) -> None:
    rules = (
        Rule(name="spam", signal="spam", comparison=">", threshold=0.5, reason="spam"),
        Rule(name="worse_half", signal="quality", comparison="<", quantile=0.5, by="domain", reason="quality"),
    )
    kept = select.run(scored.store, documents=scored, params=SelectParams(rules=rules))
    assert kept.manifest.counts.dropped["spam"] == 20
    assert set(kept.manifest.metrics["rules"][1]["thresholds"]) <= {"code", "general"}
    none = SelectParams(rules=rules, thresholds={"worse_half": 0.0}, without=("spam",))
    assert select.run(scored.store, documents=scored, params=none).manifest.counts.dropped == {}
    with pytest.raises(BadConfig, match="select has no rules"):
        select.run(scored.store, documents=scored, params=SelectParams(rules=()))


def test_another_quantile_of_a_grown_corpus_takes_no_old_part(
    spark: Any, store: Store, models: dict[str, Artifact], documents: Artifact, scored: Artifact
) -> None:
    grown_documents = raw_documents(store, [MIXED[:15], [], MIXED[15:], rows("new", little_texts(BAD, 30, 13))])
    grown = score.run(store, documents=grown_documents, models=list(models.values()))
    before, after = (select.run(store, documents=one) for one in (scored, grown))
    cuts = [one.manifest.metrics["rules"][0]["threshold"] for one in (before, after)]
    assert cuts[0] > cuts[1]
    for part in range(3):
        kept = after.read_part("kept", part).column("row").to_pylist()
        quality = open_part(grown, part, ["quality"]).to_pylist()
        assert kept == [row["row"] for row in quality if row["quality"] is None or row["quality"] >= cuts[1] - 1e-7]


def test_mix_takes_domain_and_quality_and_marks_the_best_of_each_domain(spark: Any, scored: Artifact) -> None:
    made = mix.run(scored.store, documents=scored, params=MixParams(max_epochs=100))
    table = made.read_table("documents").to_pylist()
    assert {row["domain"] for row in table} <= {"general", "code"}
    recipe = json.loads(made.file("recipe.json").read_text())
    assert made.manifest.metrics["lacking_domains"] == sorted(recipe["lacking"])
    assert {"math", "multilingual"} <= set(recipe["lacking"])
    for domain, least in recipe["annealing"]["quality_at_least"].items():
        own = [row for row in table if row["domain"] == domain]
        marked = {row["doc_id"] for row in own if row["anneal"]}
        assert marked == {r["doc_id"] for r in own if r["quality"] is not None and r["quality"] >= least - 1e-7}
        train = [row for row in own if row["anneal"] and row["split"] == "train"]
        if train:
            size = recipe["annealing"]["domains"][domain]
            assert (size["documents"], size["bytes"]) == (len(train), sum(row["n_bytes"] for row in train))
