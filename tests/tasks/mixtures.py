"""A mix without a crawl: artifacts of stage `mix` for the tests of what follows it."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

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


class MixtureParams(Params):
    parts: list[list[dict[str, str]]]


def _write(params: MixtureParams, out: Draft) -> None:
    for index, rows in enumerate(params.parts):
        documents = [
            {"row": 2 * row, "n_bytes": len(fields["text"].encode()), **fields} for row, fields in enumerate(rows)
        ]
        out.write("documents", pa.Table.from_pylist(documents, schema=MIX), part=index)
    total = sum(map(len, params.parts))
    out.count("documents", total, out=total)


def mixture(store: Store, parts: Iterable[Sequence[dict[str, str]]]) -> Artifact:
    """Commit a mix whose documents are dicts of doc_id, text, split, domain and language.

    Rows are numbered 0, 2, 4 …, as if every other row of the base text had been dropped.
    """
    # Made here and not by `@stage`: the registry's `mix` is the real one.
    made = Stage(
        _write, name="mix", version=0, libraries=(), tables={"documents": MIX}, one_to_one=False, fingerprint=None
    )
    return made.run(store, params=MixtureParams(parts=[list(rows) for rows in parts]))
