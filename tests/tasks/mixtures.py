"""A mix without a crawl: artifacts of stage `mix` for the tests of what follows it."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from infra.canonical import digest
from infra.files import write_text
from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact, Store

MIX = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("text", pa.string()),
        ("split", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        ("n_bytes", pa.int64()),
    ]
)
MARKED_MIX = MIX.append(pa.field("anneal", pa.bool_()))


class MixtureParams(Params):
    content: str  # digest of documents and recipe: a manifest with the texts themselves is slow to open


def _write(parts: Sequence[Sequence[dict[str, Any]]], recipe: dict[str, Any] | None, out: Draft) -> None:
    for index, rows in enumerate(parts):
        documents = [
            {"row": 2 * row, "n_bytes": len(fields["text"].encode()), **fields} for row, fields in enumerate(rows)
        ]
        out.write("documents", pa.Table.from_pylist(documents, schema=_schema(parts)), part=index)
    if recipe is not None:
        write_text(out.path("recipe.json"), json.dumps(recipe))
    total = sum(map(len, parts))
    out.count("documents", total, out=total)


def _schema(parts: Sequence[Sequence[dict[str, Any]]]) -> pa.Schema:
    return MARKED_MIX if any("anneal" in row for part in parts for row in part) else MIX


def mixture(store: Store, parts: Iterable[Sequence[dict[str, Any]]], recipe: dict[str, Any] | None = None) -> Artifact:
    """Commit a mix whose documents are dicts of doc_id, text, split, domain and language, some with anneal (bool).

    Rows are numbered 0, 2, 4 …, as if every other row of the base text had been dropped.
    """
    parts = [list(rows) for rows in parts]

    def write(params: MixtureParams, out: Draft) -> None:
        _write(parts, recipe, out)

    # Made here and not by `@stage`: the registry's `mix` is the real one.
    made = Stage(
        write,
        name="mix",
        version=0,
        libraries=(),
        tables={"documents": _schema(parts)},
        one_to_one=False,
        fingerprint=None,
    )
    return made.run(store, params=MixtureParams(content=digest([parts, recipe])))
