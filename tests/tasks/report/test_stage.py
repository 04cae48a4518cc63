"""The report stage on a road in miniature: from artifacts to a page and a summary."""

import json
import shutil

import pytest

from infra.params import Runtime
from infra.store import Artifact, Store
from tasks.evaluate import EvaluateParams, evaluate
from tasks.report import ReportParams, report
from tasks.report.collect import collect, pick_samples
from tests.tasks.little_road import NASTY, little_road, models


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Artifact:
    store = Store(tmp_path_factory.mktemp("road") / "store")
    made = little_road(store)
    return evaluate.run(
        store,
        tokens=made["tokens"],
        chat=made["chat-data"],
        models=models(made),
        params=EvaluateParams(max_new_tokens=8),
        runtime=Runtime(cores=1),
    )


def test_the_page_tells_the_lineage(evaluation):
    artifact = report.run(evaluation.store, evaluation=evaluation, params=ReportParams(samples=4))
    html = artifact.file("report.html").read_text(encoding="utf-8")
    for found in evaluation.ancestors():
        assert f'id="v-{found.stage}-{found.version}"' in html
    assert "Data cut-off <strong>2026-10-10</strong>" in html
    assert "Witten–Bell trigram" in html and "4 of the 10 questions" in html
    assert NASTY not in html and "&lt;script&gt;" in html
    assert "adds up</span>" in html and "does not add up" not in html
    assert artifact.manifest.counts.in_.n == len(evaluation.ancestors())


def test_the_summary_is_the_same_each_time_and_the_page_may_differ(evaluation, tmp_path):
    first = report.run(evaluation.store, evaluation=evaluation)
    copy = Store(tmp_path / "copy")
    shutil.copytree(evaluation.store.root, copy.root)
    shutil.rmtree(copy.root / "report")
    again = report.run(copy, evaluation=copy.open(evaluation.ref))
    assert first.ref == again.ref
    before, after = first.file("summary.json").read_bytes(), again.file("summary.json").read_bytes()
    assert before == after
    assert {file.path: file.volatile for file in first.manifest.files} == {"report.html": True, "summary.json": False}
    summary = json.loads(before)
    assert summary["data_until"] == "2026-10-10" and summary["data_from"] == "2026-09-01"
    assert set(summary["bits_per_byte"]) > {"unigram", "bigram"}
    assert sum(row["counted"] for row in summary["answers"]) == 3


def test_collected_figures_are_those_of_the_artifacts(evaluation):
    data = collect(evaluation, samples=3, top=2)
    assert [row.name for row in data.prediction] == ["unigram", "bigram", "Witten–Bell trigram", "base", "SFT", "DPO"]
    assert [(row.before, row.after) for row in data.changes if row.metric == "rouge_l"] == [
        ("base", "SFT"),
        ("SFT", "DPO"),
        ("base", "DPO"),
    ]
    assert [panel.title for panel in data.panels] == [
        "Pretraining",
        "Supervised fine-tuning",
        "Preference optimisation",
    ]
    assert data.tokens_seen == 1000
    sites, languages = data.tallies
    assert (sites.total, sites.kinds, len(sites.rows)) == (40, 4, 2)
    assert dict(languages.rows) == {"en": 30, "de": 10}
    assert data.gaps == ()
    tokenizer = next(node for node in data.nodes if node.stage == "tokenizer")
    assert tokenizer.command.startswith("sluice stage tokenizer --in documents=mix/")
    assert "--set vocab_size=320" in tokenizer.command
    assert f"--set tokens={evaluation.parent('tokens').ref}" in data.command


def test_samples_are_chosen_by_place():
    rows = [
        {
            "question_id": k,
            "question": f"q{k}",
            "reference": "r",
            "model": "sft/1",
            "counted": True,
            "answer": "a",
            "rouge_l": 0.0,
            "exact_form": False,
            "finish_reason": "stop",
        }
        for k in range(10)
    ]
    names = {"sft/1": "SFT"}
    assert [sample.question for sample in pick_samples(rows, names, 4)] == ["q0", "q2", "q5", "q7"]
    assert len(pick_samples(rows, names, 100)) == 10
    assert pick_samples(rows, names, 0) == ()
