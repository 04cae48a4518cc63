"""The evaluate stage on a road in miniature: every score where it belongs, and the same each time."""

import logging
import math
import shutil
import time

import numpy as np
import pytest
import torch

from infra.errors import BadInput
from infra.params import Runtime
from infra.store import Artifact, Store
from model.config import LSTMConfig
from tasks.chat_session import ChatSession
from tasks.evaluate import EvaluateParams, evaluate
from tasks.evaluate.measure import measure_all
from tasks.training import Model
from tests.tasks.little_road import little_road, models

PARAMS = EvaluateParams(max_new_tokens=12, questions=20, pairs=20)


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> tuple[Store, dict[str, Artifact]]:
    store = Store(tmp_path_factory.mktemp("road") / "store")
    made = little_road(store)
    made["evaluate"] = _run(store, made)
    return store, made


def _run(store, made, params=PARAMS, cores=1) -> Artifact:
    return evaluate.run(
        store,
        tokens=made["tokens"],
        chat=made["chat-data"],
        models=models(made),
        params=params,
        runtime=Runtime(cores=cores),
    )


def _scores(artifact):
    return {(row["model"], row["task"], row["metric"]): row for row in artifact.read_table("scores").to_pylist()}


def test_models_and_baselines_are_scored_on_the_same_text(road):
    _, made = road
    rows = [row for row in _scores(made["evaluate"]).values() if row["metric"] == "bits_per_byte"]
    assert {row["model"] for row in rows} == {"unigram", "bigram", "trigram", *(m.ref for m in models(made))}
    assert len({(row["task_hash"], row["tokenizer_hash"], row["n"]) for row in rows}) == 1
    by_model = {row["model"]: row["value"] for row in rows}
    assert by_model["bigram"] < by_model["unigram"] < by_model[made["pretrain"].ref]
    assert made["evaluate"].manifest.metrics["heldout"]["documents"] == 8


def test_every_question_that_fits_is_answered_by_every_model(road):
    _, made = road
    rows = made["evaluate"].read_table("answers").to_pylist()
    assert {(row["stage"], row["prompt"]) for row in rows} == {
        ("pretrain", "chatml"),
        ("pretrain", "plain"),
        ("sft", "chatml"),
        ("dpo", "chatml"),
    }
    assert len(rows) == 4 * 10
    counts = made["evaluate"].manifest.counts
    assert (counts.in_.n, counts.used, counts.dropped, counts.out.n) == (11, 10, {"too_long": 1}, 40)
    counted = {(row["stage"], row["prompt"]) for row in rows if row["counted"]}
    assert len(counted) == 3 and {stage for stage, _ in counted} == {"pretrain", "sft", "dpo"}


def test_scores_are_the_means_of_the_answers(road):
    _, made = road
    rows = made["evaluate"].read_table("answers").to_pylist()
    scores = _scores(made["evaluate"])
    for stage, prompt in (("pretrain", "plain"), ("sft", "chatml")):
        ref = made[stage].ref
        values = [row["rouge_l"] for row in rows if (row["model"], row["prompt"]) == (ref, prompt)]
        score = scores[ref, f"answers.{prompt}", "rouge_l"]
        assert score["value"] == pytest.approx(np.mean(values), abs=1e-5)
        assert score["stderr"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(10), abs=1e-5)
    assert scores["reference", "answers.chatml", "exact_form"]["value"] == 1.0


def test_differences_follow_the_line_from_base_to_dpo(road):
    _, made = road
    rows = made["evaluate"].read_table("differences").to_pylist()
    base, sft, dpo = (model.ref for model in models(made))
    assert [(row["before"], row["after"]) for row in rows if row["metric"] == "rouge_l"] == [
        (base, sft),
        (sft, dpo),
        (base, dpo),
    ]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_preferences_are_scored_for_dpo_only(road):
    _, made = road
    found = {key[0]: row for key, row in _scores(made["evaluate"]).items() if key[1:] == ("preferences", "accuracy")}
    assert list(found) == [made["dpo"].ref]
    assert found[made["dpo"].ref]["n"] == 10
    assert 0 <= found[made["dpo"].ref]["value"] <= 1


def test_base_models_choose_between_answers(road):
    _, made = road
    found = {key: row for key, row in _scores(made["evaluate"]).items() if key[1] == "choices"}
    assert {key[0] for key in found} == {made["pretrain"].ref}
    right, bits = (found[made["pretrain"].ref, "choices", name] for name in ("accuracy", "answer_bits_per_byte"))
    assert 0 < right["n"] <= 10 and 0 <= right["value"] <= 1 and bits["value"] > 0
    assert 0 <= found[made["pretrain"].ref, "choices", "accuracy_pmi"]["value"] <= 1
    assert right["task_hash"] == bits["task_hash"]


def test_computing_again_gives_the_same_bytes_and_leaves_torch_as_it_was(road, tmp_path):
    store, made = road
    threads = torch.get_num_threads()
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    shutil.rmtree(copy.root / "evaluate")
    again = _run(copy, {name: copy.open(made[name].ref) for name in made if name != "evaluate"})
    assert again.ref == made["evaluate"].ref
    assert [file.sha256 for file in again.manifest.files] == [file.sha256 for file in made["evaluate"].manifest.files]
    assert torch.get_num_threads() == threads


def test_a_model_with_another_tokenizer_is_refused(road, tmp_path):
    store, made = road
    other = Store(tmp_path / "other")
    shutil.copytree(store.root, other.root)
    path = other.open(made["sft"].ref).file("model/tokenizer.json")
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match="another tokenizer"):
        _run(
            other,
            {name: other.open(artifact.ref) for name, artifact in made.items()},
            EvaluateParams(max_new_tokens=5),
        )


def test_answers_that_leave_no_room_for_a_question_are_refused_before_any_work(road, caplog):
    store, made = road
    context = 96
    with pytest.raises(BadInput, match=rf"{context} tokens of an answer leave no room .* {context} that \w+/\w+ takes"):
        _run(store, made, EvaluateParams(max_new_tokens=context))
    with caplog.at_level(logging.WARNING, logger="sluice.evaluate"):
        artifact = _run(store, made, EvaluateParams(max_new_tokens=context - 20, questions=20, pairs=0))
    left_out = artifact.manifest.counts.dropped["too_long"]
    assert left_out and f"{left_out} of 11 questions are not asked" in caplog.text


def test_a_model_given_twice_is_measured_once(road):
    store, made = road
    params = EvaluateParams(questions=2, pairs=0, max_new_tokens=4, heldout_tokens=200)
    twice = evaluate.run(
        store, tokens=made["tokens"], chat=made["chat-data"], models=[made["pretrain"]] * 2, params=params
    )
    assert twice.read_table("answers").num_rows == 2 * 2  # two ways of asking a base model


def test_a_model_that_writes_no_text_is_refused(road, monkeypatch):
    store, made = road
    lstm = LSTMConfig(vocab_size=300, hidden_size=8, n_layers=1, max_seq_len=96)
    monkeypatch.setattr(Model, "shape", property(lambda self: lstm))
    with pytest.raises(BadInput, match="is an LSTM, which is there to compare losses with: it writes no text"):
        _run(store, made, EvaluateParams(max_new_tokens=7))
    with pytest.raises(BadInput, match="it writes no text"):
        ChatSession.open(made["pretrain"])


def test_a_model_that_fails_is_told_before_the_others_are_through(road, monkeypatch):
    _, made = road
    done = []

    def fail_or_wait(model, work, go_on):
        if model.stage == "sft":
            raise ValueError("no weights")
        for _ in range(100):
            time.sleep(0.05)
            go_on()
        done.append(model.ref)

    monkeypatch.setattr("tasks.evaluate.measure.measure", fail_or_wait)
    with pytest.raises(ValueError, match="no weights"):
        measure_all(models(made), None, 2, lambda *_: None)
    assert done == []


def test_without_questions_text_is_still_predicted(road):
    store, made = road
    artifact = _run(store, made, EvaluateParams(questions=0, pairs=0, split="validation"))
    assert {metric for _, _, metric in _scores(artifact)} == {"bits_per_byte"}
    assert artifact.read_table("answers").num_rows == 0
    assert artifact.manifest.counts.dropped == {"not_sampled": 11}
