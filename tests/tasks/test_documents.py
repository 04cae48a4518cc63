from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, stage
from infra.store import Artifact
from tasks.documents import Documents, Step, apply_spans, columns_of, crawl_file, iter_documents, open_part

TEXTS = pa.schema([("doc_id", pa.string()), ("url", pa.string()), ("text", pa.string())])
SIGNALS = pa.schema([("doc_id", pa.string()), ("text", pa.string()), ("n_words", pa.int32())])
ROWS = pa.schema([("doc_id", pa.string()), ("row", pa.int32())])
SPANS = pa.schema([("row", pa.int32()), ("start", pa.int32()), ("end", pa.int32()), ("replacement", pa.string())])


class NoParams(Params):
    tag: str = ""


def test_two_files_of_one_name_are_told_apart_by_their_parts() -> None:
    """Cut into 4 bytes: the first file has parts 0 to 2, the second of the same name 3 and 4."""
    files = [SimpleNamespace(path=f"/crawl/{year}/a.warc.gz", bytes=size) for year, size in ((2024, 10), (2025, 8))]
    extract = SimpleNamespace(manifest=SimpleNamespace(inputs={"crawl": files}, params={"part_bytes": 4}))
    found = [crawl_file(Step(extract, part), "a.warc.gz") for part in range(5)]  # type: ignore[arg-type]
    assert found == ["/crawl/2024/a.warc.gz"] * 3 + ["/crawl/2025/a.warc.gz"] * 2
    made_here = SimpleNamespace(manifest=SimpleNamespace(inputs={}, params={"part_bytes": 4}))
    assert crawl_file(Step(made_here, 1), "a.warc.gz") == "a.warc.gz"  # type: ignore[arg-type]


# Stages of the road in miniature, under other names; `_REAL` gives their artifacts to `open_part` by shape alone.
@stage("t-extract", version=1, tables={"documents": TEXTS})
def base(params: NoParams, out: Draft) -> None:
    for part in range(2):
        ids = [f"{params.tag}{part}{row}" for row in range(4)]
        out.write(
            "documents",
            pa.table({"doc_id": ids, "url": [f"u{i}" for i in ids], "text": [f"raw {i}" for i in ids]}),
            part=part,
        )
    out.count("documents", 8, out=8)


@stage("t-measure", version=1, tables={"documents": SIGNALS})
def measured(documents: Artifact, params: NoParams, out: Draft) -> None:
    for part in range(documents.part_count):
        ids = documents.read_part("documents", part, ["doc_id"]).column("doc_id")
        texts = [f"abcdef {i}" for i in ids.to_pylist()]
        words = pa.array(range(len(ids)), pa.int32())
        out.write("documents", pa.table({"doc_id": ids, "text": texts, "n_words": words}), part=part)
    out.count("documents", 8, out=8)


@stage("t-kept", version=1, tables={"kept": ROWS, "spans": SPANS})
def kept(documents: Artifact, params: NoParams, out: Draft) -> None:
    for part in range(documents.part_count):
        ids = documents.read_part("documents", part, ["doc_id"]).column("doc_id").to_pylist()
        out.write("kept", pa.table({"doc_id": [ids[1], ids[3]], "row": pa.array([1, 3], pa.int32())}), part=part)
        edits = [{"row": 3, "start": 0, "end": 3, "replacement": "#"}] if part else []
        out.write("spans", pa.Table.from_pylist(edits, schema=SPANS), part=part)
    out.count("documents", 8, dropped={"odd": 4}, out=4)


@stage("t-union", version=1, tables={"kept": ROWS})
def union(signatures: list[Artifact], params: NoParams, out: Draft) -> None:
    tables = [table for parent in signatures for table in parent.iter_parts("kept")]
    for part, table in enumerate(tables):
        out.write("kept", table.slice(1), part=part)
    out.count("documents", 8, dropped={"copy": 4}, out=4)


def chain(store, tag=""):
    return kept.run(store, documents=measured.run(store, documents=base.run(store, params=NoParams(tag=tag))))


def test_kept_rows_come_with_columns_from_all_over_the_lineage(store):
    table = open_part(chain(store), 0, ["url", "text", "n_words"])
    assert table.column_names == ["doc_id", "part", "row", "url", "text", "n_words"]
    assert table.to_pylist() == [
        {"doc_id": "01", "part": 0, "row": 1, "url": "u01", "text": "abcdef 01", "n_words": 1},
        {"doc_id": "03", "part": 0, "row": 3, "url": "u03", "text": "abcdef 03", "n_words": 3},
    ]


def test_edits_apply_to_the_text_of_their_row(store):
    assert open_part(chain(store), 1, ["text"]).column("text").to_pylist() == ["abcdef 11", "#def 13"]
    assert open_part(chain(store), 1, ["text"], edits=False).column("text").to_pylist()[1] == "abcdef 13"


def test_parts_of_several_corpora_follow_one_another(store):
    both = union.run(store, signatures=[chain(store, "a"), chain(store, "b")])
    tables = list(iter_documents(both, ["url"]))
    assert [table.column("part").to_pylist() for table in tables] == [[0], [1], [2], [3]]
    found = {url for table in tables for url in table.column("url").to_pylist()}
    assert found == {"ua03", "ua13", "ub03", "ub13"}


def test_an_unknown_column_is_named_with_the_known_ones(store):
    artifact = chain(store)
    assert set(columns_of(artifact)) == {"doc_id", "part", "row", "url", "text", "n_words"}
    with pytest.raises(BadInput, match=r"no column 'words'; there are: .*n_words"):
        open_part(artifact, 0, ["words"])


def test_a_role_of_documents_refuses_what_is_none(store):
    from infra.stage.stage import _role

    assert _role("documents", Documents | None).optional
    assert "tokenizer" not in Documents.accepts


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 2, "")], "cdef"),
        ([(1, 3, "*"), (0, 2, "")], "cdef"),  # a cut beats a mask
        ([(0, 2, "*"), (1, 5, "#")], "a#f"),  # the longer mask
        ([(2, 4, "*"), (0, 2, "#"), (4, 6, "")], "#*"),  # neighbours do not overlap
        ([(0, 2, "é"), (0, 2, "é")], "écdef"),  # the same edit twice
    ],
)
def test_overlapping_edits(spans, expected):
    assert apply_spans("abcdef", spans) == expected


def _apply_one_by_one(text, spans):
    """The rule of `apply_spans` as it reads: each edit against every one chosen before it."""
    chosen = []
    for start, end, replacement in sorted(set(spans), key=lambda s: (s[2] != "", s[0] - s[1], s)):
        if all(end <= other_start or start >= other_end for other_start, other_end, _ in chosen):
            chosen.append((start, end, replacement))
    pieces, position = [], 0
    for start, end, replacement in sorted(chosen):
        pieces.append(text[position:start] + replacement)
        position = end
    return "".join(pieces) + text[position:]


EDITS = st.tuples(st.integers(0, 20), st.integers(0, 6), st.sampled_from(["", "*", "#"]))


@given(st.lists(EDITS, max_size=25))
def test_edits_are_chosen_by_the_rule_whatever_they_are(edits):
    spans = [(start, start + size, replacement) for start, size, replacement in edits]
    text = "abcdefghijklmnopqrstuvwxyz"
    assert apply_spans(text, spans) == _apply_one_by_one(text, spans)


def test_the_edits_of_a_list_of_addresses_take_no_square_of_their_number():
    n = 200_000
    spans = [(8 * k, 8 * k + 6, "y") for k in range(n)]
    assert apply_spans("x" * 8 * n, spans) == "yxx" * n
