"""The curation report of a miniature crawl: every figure on it is one that the stages wrote."""

import json
from collections import Counter

import pyarrow as pa
import pytest

from infra.errors import BadInput
from infra.store import Artifact, Store
from tasks.classifier.params import QualityModelParams
from tasks.classifier.stage import train_quality_model
from tasks.curation_report.stage import CurationReportParams, curation_report
from tasks.documents import iter_documents
from tasks.filter import FilterParams, filter_documents
from tasks.filters.rules import Rule
from tasks.measure import measure
from tasks.score import score
from tasks.select import BEST_TENTH, SelectParams, select
from tests.tasks.classifier.little_texts import BAD, GOOD, little_texts, rows
from tests.tasks.filters.prose import PROSE
from tests.tasks.raw_documents import raw_documents

SHORT = {"name": "short", "signal": "n_words", "comparison": "<", "threshold": 1, "reason": "short"}
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def report(curated) -> Artifact:
    return curation_report.run(curated.store, documents=curated["mix"], params=CurationReportParams(samples=2))


def summary_of(report: Artifact) -> dict:
    return json.loads(report.file("curation.json").read_text(encoding="utf-8"))


def page_of(report: Artifact) -> str:
    return report.file("curation.html").read_text(encoding="utf-8")


def test_the_account_is_that_of_the_stages(curated, report):
    summary = summary_of(report)
    assert summary["measured"] == curated["measure"].manifest.counts.out.n == report.manifest.counts.in_.n
    assert summary["kept"] == curated["mix"].manifest.counts.out.n == report.manifest.counts.out.n
    told = {(row["stage"], row["reason"]): row["n"] for row in summary["dropped"]}
    for stage in ("extract", "filter", "dedup"):
        for reason, n in curated[stage].manifest.counts.dropped.items():
            assert told[stage, reason] == n
    assert "adds up</span>" in page_of(report) and "does not add up" not in page_of(report)


def test_every_document_is_in_every_histogram_once(curated, report):
    filtered = curated["filter"].manifest.counts
    for signal in summary_of(report)["signals"].values():
        there = sum(sum(signal[kind]) for kind in ("passed", "rejected_by_this_signal", "rejected_by_another"))
        assert there + signal["null"] == filtered.in_.n
    words = summary_of(report)["signals"]["n_words"]
    assert sum(words["passed"]) == filtered.out.n  # n_words is never null


def test_a_signals_own_rejections_are_those_of_its_rules(curated, report):
    by_signal = Counter(
        signal
        for table in curated["filter"].iter_parts("rejected", ["signal"])
        for signal in table.column("signal").to_pylist()
    )
    signals = summary_of(report)["signals"]
    assert {name: n for name, n in by_signal.items() if name in signals} == {
        name: sum(signal["rejected_by_this_signal"])
        for name, signal in signals.items()
        if sum(signal["rejected_by_this_signal"])
    }


def test_sites_and_languages_are_counted_before_and_after(curated, report):
    kept = Counter(site for t in iter_documents(curated["mix"], ["site"]) for site in t.column("site").to_pylist())
    rows = {row["name"]: row for row in summary_of(report)["breakdowns"]["sites"]}
    assert {name: row["kept"] for name, row in rows.items() if row["kept"]} == dict(kept)
    assert all(row["kept"] <= row["measured"] for row in rows.values())


def test_samples_are_the_same_whatever_the_parts(spark, tmp_path):
    pages = [(f"{k:032x}", f"http://a.example/{k}", f"{PROSE} {k}" if k % 2 else "too short") for k in range(12)]

    def samples(name: str, parts: list) -> list[dict]:
        store = Store(tmp_path / name)
        measured = measure.run(store, documents=raw_documents(store, parts))
        filtered = filter_documents.run(store, documents=measured, params=FilterParams(languages=None))
        made = curation_report.run(store, documents=filtered, params=CurationReportParams(samples=2, kept_samples=3))
        page = page_of(made)
        return [row[0] in page for row in pages]

    assert samples("one", [pages]) == samples("two", [pages[7:], pages[:7]])
    assert sum(samples("one", [pages])) == 5


def test_text_from_the_web_cannot_become_markup(spark, store):
    pages = [("a" * 32, f"http://a.example/{NASTY}", f"{NASTY} {PROSE}"), ("b" * 32, "http://b.example/", NASTY)]
    measured = measure.run(store, documents=raw_documents(store, [pages]))
    filtered = filter_documents.run(store, documents=measured, params=FilterParams(languages=None))
    page = page_of(curation_report.run(store, documents=filtered))
    assert NASTY not in page and page.count("&lt;script&gt;alert") >= 3


def test_personal_data_is_on_the_page_of_neither_kept_nor_dropped_documents(spark, store):
    address = "maria.huber@alpenverein.org"
    pages = [("a" * 32, "http://a.example/", f"Write to {address}. {PROSE}"), ("b" * 32, "http://b.example/", address)]
    measured = measure.run(store, documents=raw_documents(store, [pages]))
    filtered = filter_documents.run(store, documents=measured, params=FilterParams(languages=None))
    made = curation_report.run(store, documents=filtered)
    assert address not in page_of(made) and page_of(made).count("@example.com") == 2


def test_the_page_is_the_same_each_time(curated, report, tmp_path):
    again = Store(tmp_path / "again")
    again.root.mkdir(parents=True, exist_ok=True)
    for stage in ("extract", "measure", "filter", "signatures", "dedup", "pii", "mix"):
        (again.root / stage).symlink_to(curated.store.root / stage)
    made = curation_report.run(again, documents=again.open(curated["mix"].ref), params=CurationReportParams(samples=2))
    assert made.ref == report.ref
    assert page_of(made) == page_of(report)


def test_documents_without_signals_are_refused_in_one_line(spark, store):
    raw = raw_documents(store, [[("a" * 32, None, PROSE)]])
    with pytest.raises(BadInput, match=r"curation-report.*documents"):
        curation_report.run(store, documents=raw)


def test_tables_hold_what_the_page_rests_on(report):
    reasons = pa.concat_tables(report.iter_parts("reasons")).to_pylist()
    assert sum(row["n"] for row in reasons) == report.manifest.counts.in_.n


def test_scores_and_the_quantile_that_was_cut_at_are_shown(spark, store):
    good, bad = (rows(kind, little_texts(words, 40, k)) for k, (kind, words) in enumerate((("g", GOOD), ("b", BAD))))
    small = QualityModelParams(dim=10, bucket=1000, epoch=20, lr=0.5, min_examples=5, heldout=0.2)
    model = train_quality_model.run(
        store, positives=[raw_documents(store, [good])], negatives=[raw_documents(store, [bad])], params=small
    )
    measured = measure.run(store, documents=raw_documents(store, [good[:20], bad[:20]]))
    everything = FilterParams(languages=None, presets=(), rules=(Rule(**SHORT),))
    scored = score.run(
        store, documents=filter_documents.run(store, documents=measured, params=everything), models=[model]
    )
    best_half = BEST_TENTH.model_copy(update={"quantile": 0.5})
    selected = select.run(store, documents=scored, params=SelectParams(rules=(best_half,)))
    made = curation_report.run(store, documents=selected)
    quality = summary_of(made)["signals"]["quality"]
    assert sum(quality["passed"]) == made.manifest.counts.out.n == selected.manifest.counts.out.n == 20
    assert sum(quality["rejected_by_this_signal"]) == 20
    (cut,) = selected.manifest.metrics["rules"][0]["thresholds"].values()
    assert f"quality rejects &lt; {cut:.4g} (20 documents)" in page_of(made)
