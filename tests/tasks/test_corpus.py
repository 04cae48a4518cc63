"""Labels of a mix, with the language that an earlier stage has said."""

import pyarrow as pa

from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from tasks.corpus import Label, read_labels, read_texts
from tasks.documents import Documents
from tests.tasks.mixtures import MIX, mixture

MEASURED = pa.schema([("doc_id", pa.string()), ("text", pa.string()), ("language", pa.string())])
LANGUAGES = [["en", "de", None, "en"], ["ru", "en"]]


class NoParams(Params):
    """Nothing to choose."""


def _measure(params: NoParams, out: Draft) -> None:
    for part, languages in enumerate(LANGUAGES):
        rows = [{"doc_id": f"{part}-{row}", "text": "raw", "language": name} for row, name in enumerate(languages)]
        out.write("documents", pa.Table.from_pylist(rows, schema=MEASURED), part=part)
    out.count("documents", 6, out=6)


def _mix(documents: Documents, params: NoParams, out: Draft) -> None:
    for part, kept in enumerate([[0, 2, 3], [1]]):
        rows = [
            {
                "doc_id": f"{part}-{row}",
                "row": row,
                "text": "é" * row,
                "split": "train",
                "domain": "news",
                "n_bytes": 2 * row,
            }
            for row in kept
        ]
        schema = MIX.remove(MIX.get_field_index("language"))
        out.write("documents", pa.Table.from_pylist(rows, schema=schema), part=part)
    out.count("documents", 4, out=4)


def unregistered(function, name: str, schema: pa.Schema) -> Stage:
    tables = {"documents": schema}
    return Stage(function, name=name, version=0, libraries=(), tables=tables, one_to_one=False, fingerprint=None)


def made_mix(store: Store) -> Artifact:
    measured = unregistered(_measure, "measure", MEASURED).run(store, params=NoParams())
    schema = MIX.remove(MIX.get_field_index("language"))
    return unregistered(_mix, "mix", schema).run(store, params=NoParams(), documents=measured)


def test_the_language_comes_from_the_documents_that_were_mixed(store: Store) -> None:
    mix = made_mix(store)
    assert [(label.row, label.language) for label in read_labels(mix, 0)] == [(0, "en"), (2, "unknown"), (3, "en")]
    assert read_labels(mix, 1) == [Label("1-1", 1, "train", "news", "en", 2)]


def test_texts_are_the_final_ones_in_the_order_of_the_labels(store: Store) -> None:
    mix = made_mix(store)
    for part in (0, 1):
        labels, texts = read_labels(mix, part), read_texts(mix, part).to_pylist()
        assert [label.n_bytes for label in labels] == [len(text.encode()) for text in texts]


def test_a_language_of_the_mix_itself_comes_first(store: Store) -> None:
    document = {"doc_id": "a", "text": "x", "split": "test", "domain": "law", "language": "fr"}
    assert read_labels(mixture(store, [[document]]), 0) == [Label("a", 0, "test", "law", "fr", 1)]
