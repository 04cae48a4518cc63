"""From an evaluation's lineage to `ReportData`: the only part of the report that reads artifacts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from infra.store import Artifact
from tasks.corpus import UNKNOWN, Corpus, read_labels
from tasks.report.charts import Series
from tasks.report.data import (
    Answer,
    Change,
    Panel,
    Prediction,
    Preference,
    Quality,
    ReportData,
    Sample,
    Tally,
)
from tasks.report.funnel import funnel_rows, gaps
from tasks.report.lineage import machine, node_of, reproduce
from tasks.report.render import OTHER_STYLE, STYLES

MODEL_NAMES = {"imported-model": "imported", "pretrain": "base", "sft": "SFT", "dpo": "DPO"}
PANEL_TITLES = {"pretrain": "Pretraining", "sft": "Supervised fine-tuning", "dpo": "Preference optimisation"}
PROMPT_NAMES = {"chatml": "ChatML", "plain": "Question: … Answer:"}
BASELINE_NAMES = {"unigram": "unigram", "bigram": "bigram", "trigram": "Witten–Bell trigram"}
VALIDATION_STYLE = 5  # colour class of validation points, unlike any model's

Row = dict[str, Any]


def collect(evaluation: Artifact, samples: int, top: int) -> ReportData:
    """Read everything the page shows.

    Args:
        evaluation: an artifact of `evaluate`.
        samples: questions to show with their answers.
        top: rows of each ranking.
    """
    lineage = evaluation.ancestors()
    manifests = [artifact.manifest for artifact in lineage]
    mixes = [artifact for artifact in lineage if artifact.stage == "mix"]
    scores: list[Row] = evaluation.read_table("scores").to_pylist()
    answers: list[Row] = evaluation.read_table("answers").to_pylist()
    names = model_names(evaluation.parents("models"))
    counted = {row["model"]: row["prompt"] for row in answers if row["counted"]}
    models = [artifact for artifact in lineage if artifact.stage in PANEL_TITLES]
    references = [row["value"] for row in scores if row["model"] == "reference" and row["metric"] == "exact_form"]
    earliest, latest = capture_range(mixes)
    facts = evaluation.manifest.metrics
    sizes: Mapping[str, int] = facts.get("parameters", {})
    largest = max(evaluation.parents("models"), key=lambda model: sizes.get(model.ref, 0), default=None)
    return ReportData(
        evaluation=evaluation.ref,
        data_from=earliest,
        data_until=latest,
        funnel=tuple(funnel_rows(manifests)),
        gaps=tuple(gaps(manifests)),
        heldout=heldout_text(facts),
        prediction=predictions(scores, names),
        panels=tuple(panel for model in models if (panel := training_panel(model)) is not None),
        quality=qualities(scores, names, counted),
        reference_exact_form=references[0] if references else None,
        changes=changes(evaluation.read_table("differences").to_pylist(), names),
        preferences=preferences(scores),
        samples=pick_samples(answers, names, samples),
        n_questions=len({row["question_id"] for row in answers}),
        tallies=tallies(lineage, mixes, top),
        nodes=tuple(node_of(manifest) for manifest in manifests),
        parameters=max(sizes.values(), default=None),
        tokens_seen=None if largest is None else tokens_seen(largest),
        machine=machine(evaluation.manifest),
        command=reproduce(evaluation.manifest),
    )


def model_names(models: Sequence[Artifact]) -> dict[str, str]:
    """ref -> name on the page, in the order of the road; two models of one stage are told apart by version."""
    order = list(MODEL_NAMES)
    ranked = sorted(models, key=lambda m: (order.index(m.stage) if m.stage in order else len(order), m.ref))
    stages = Counter(model.stage for model in ranked)
    names = {}
    for model in ranked:
        name = MODEL_NAMES.get(model.stage, model.stage)
        names[model.ref] = name if stages[model.stage] == 1 else f"{name} {model.version[:6]}"
    return names


def heldout_text(facts: Mapping[str, Any]) -> str:
    """What was predicted, in words."""
    heldout = facts.get("heldout")
    if not heldout:
        return ""
    size = f"{heldout['tokens']:,} tokens, {heldout['bytes']:,} bytes"
    return f"{size} of {heldout['documents']:,} {heldout['split']} documents"


def predictions(scores: Iterable[Row], names: Mapping[str, str]) -> tuple[Prediction, ...]:
    """Baselines from worst to best context, then the models in the order of the road."""
    values = {row["model"]: row["value"] for row in scores if row["metric"] == "bits_per_byte"}
    found = [Prediction(name, None, values[key], True) for key, name in BASELINE_NAMES.items() if key in values]
    return (*found, *(Prediction(name, ref, values[ref], False) for ref, name in names.items() if ref in values))


def qualities(scores: Iterable[Row], names: Mapping[str, str], counted: Mapping[str, str]) -> tuple[Quality, ...]:
    """One row a model and way of asking; `counted` says which way stands for a model."""
    table: dict[tuple[str, str], dict[str, Row]] = {}
    for row in scores:
        task, _, prompt = row["task"].partition(".")
        if task == "answers" and row["model"] in names:
            table.setdefault((row["model"], prompt), {})[row["metric"]] = row
    found = []
    for ref, name in names.items():
        for (model, prompt), metrics in table.items():
            if model == ref:
                figures = {key: (row["value"], row["stderr"]) for key, row in metrics.items()}
                found.append(
                    Quality(
                        name,
                        ref,
                        PROMPT_NAMES.get(prompt, prompt),
                        counted.get(ref) == prompt,
                        metrics["rouge_l"]["n"],
                        figures["rouge_l"],
                        figures["exact_form"],
                        figures["ended"],
                    )
                )
    return tuple(found)


def changes(rows: Iterable[Row], names: Mapping[str, str]) -> tuple[Change, ...]:
    """Paired differences as they were computed."""
    return tuple(
        Change(
            row["metric"], names[row["before"]], names[row["after"]], row["value"], row["low"], row["high"], row["n"]
        )
        for row in rows
    )


def preferences(scores: Iterable[Row]) -> tuple[Preference, ...]:
    """Preference accuracy and margin of each model that has them."""
    found: dict[str, dict[str, Row]] = {}
    for row in scores:
        if row["task"] == "preferences":
            found.setdefault(row["model"], {})[row["metric"]] = row
    return tuple(
        Preference(ref, m["accuracy"]["value"], m["accuracy"]["stderr"], m["margin"]["value"], m["accuracy"]["n"])
        for ref, m in found.items()
    )


def pick_samples(answers: Sequence[Row], names: Mapping[str, str], wanted: int) -> tuple[Sample, ...]:
    """Evenly spaced questions with the counted answers of every model: chosen by place, never by score."""
    by_question: dict[int, dict[str, Row]] = {}
    for row in answers:
        if row["counted"]:
            by_question.setdefault(row["question_id"], {})[row["model"]] = row
    ids = sorted(by_question)
    chosen = [ids[i * len(ids) // wanted] for i in range(wanted)] if len(ids) > wanted else ids
    found = []
    for question_id in chosen:
        rows = by_question[question_id]
        first = next(iter(rows.values()))
        given = tuple(
            Answer(name, rows[ref]["answer"], rows[ref]["rouge_l"], rows[ref]["exact_form"], rows[ref]["finish_reason"])
            for ref, name in names.items()
            if ref in rows
        )
        found.append(Sample(first["question"], first["reference"], given))
    return tuple(found)


def training_panel(model: Artifact) -> Panel | None:
    """The loss curve of a model's `metrics.jsonl`; None when it has none."""
    rows = read_metrics(model)
    if not rows:
        return None

    def series(name: str, key: str, style: int, dots: bool) -> Series:
        points = [(float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None]
        return Series(name, tuple(x for x, _ in points), tuple(y for _, y in points), style, dots)

    lines = (
        series("train", "loss", STYLES.get(model.stage, OTHER_STYLE), False),
        series("validation", "val_loss", VALIDATION_STYLE, True),
    )
    return Panel(PANEL_TITLES[model.stage], model.ref, "step", "loss", tuple(line for line in lines if line.xs))


def read_metrics(model: Artifact) -> list[Row]:
    """The rows of a model's `metrics.jsonl`, oldest first; none when it wrote no such file."""
    if not model.files("metrics.jsonl"):
        return []
    lines = model.file("metrics.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def tokens_seen(model: Artifact) -> int | None:
    """Tokens that a model was shown in pretraining, by itself and by those it was made from, repeats included."""
    line = [artifact for artifact in model.ancestors() if artifact.stage == "pretrain"]
    seen = [rows[-1].get("tokens", 0) for artifact in line if (rows := read_metrics(artifact))]
    return sum(seen) if seen else None


def capture_range(mixes: Sequence[Artifact]) -> tuple[str | None, str | None]:
    """Dates of the earliest and latest capture among the documents trained and tested on."""
    found: list[datetime] = []
    for mix in mixes:
        for table in mix.iter_parts("documents", ["captured_at"]):
            span = pc.min_max(table.column("captured_at")).as_py()
            found += [time for time in (span["min"], span["max"]) if time is not None]
    if not found:
        return None, None
    return min(found).strftime("%Y-%m-%d"), max(found).strftime("%Y-%m-%d")


def tallies(lineage: Sequence[Artifact], mixes: Sequence[Artifact], top: int) -> tuple[Tally, ...]:
    """What was rejected, what was a duplicate, and which sites and languages the mix is made of."""
    found = []
    for stage, title in (("filter", "Rejected, by rule"), ("dedup", "Duplicates, by kind")):
        reasons: Counter[str] = Counter()
        unit = "document"
        for artifact in lineage:
            if artifact.stage == stage:
                reasons.update(artifact.manifest.counts.dropped)
                unit = artifact.manifest.counts.in_.unit
        if reasons:
            found.append(_tally(title, unit, reasons, top))
    sites: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for mix in mixes:
        corpus = Corpus(mix.store, mix.manifest)
        for index, table in enumerate(mix.iter_parts("documents", ["site"])):
            sites.update(site or UNKNOWN for site in table.column("site").to_pylist())
            languages.update(label.language for label in read_labels(corpus, index))
    if sites:
        found.append(_tally("Sites in the mix", "document", sites, top))
        found.append(_tally("Languages in the mix", "document", languages, top, "As the language model labels them."))
    return tuple(found)


def _tally(title: str, unit: str, counts: Mapping[str, int], top: int, note: str = "") -> Tally:
    rows = sorted(((name, n) for name, n in counts.items() if n), key=lambda item: (-item[1], item[0]))
    return Tally(title, unit, tuple(rows[:top]), sum(n for _, n in rows), len(rows), note)
