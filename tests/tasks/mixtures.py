"""A mix without a crawl: artifacts of stage `mix` for the tests of what follows it."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

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
    parts: list[list[dict[str, Any]]]
    recipe: dict[str, Any] | None = None

    @property
    def schema(self) -> pa.Schema:
        return MARKED_MIX if any("anneal" in row for part in self.parts for row in part) else MIX


def _write(params: MixtureParams, out: Draft) -> None:
    for index, rows in enumerate(params.parts):
        documents = [
            {"row": 2 * row, "n_bytes": len(fields["text"].encode()), **fields} for row, fields in enumerate(rows)
        ]
        out.write("documents", pa.Table.from_pylist(documents, schema=params.schema), part=index)
    if params.recipe is not None:
        write_text(out.path("recipe.json"), json.dumps(params.recipe))
    total = sum(map(len, params.parts))
    out.count("documents", total, out=total)


def mixture(store: Store, parts: Iterable[Sequence[dict[str, Any]]], recipe: dict[str, Any] | None = None) -> Artifact:
    """Commit a mix whose documents are dicts of doc_id, text, split, domain and language, some with anneal (bool).

    Rows are numbered 0, 2, 4 …, as if every other row of the base text had been dropped.
    """
    params = MixtureParams(parts=[list(rows) for rows in parts], recipe=recipe)
    # Made here and not by `@stage`: the registry's `mix` is the real one.
    made = Stage(
        _write,
        name="mix",
        version=0,
        libraries=(),
        tables={"documents": params.schema},
        one_to_one=False,
        fingerprint=None,
    )
    return made.run(store, params=params)
