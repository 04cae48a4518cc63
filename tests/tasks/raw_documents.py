"""Extracted documents without a crawl: artifacts of stage `extract` for the tests of what follows it."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact, Store

RAW = pa.schema([("doc_id", pa.string()), ("url", pa.string()), ("text", pa.string())])


class RawParams(Params):
    parts: list[list[tuple[str, str | None, str]]]


def _write(params: RawParams, out: Draft) -> None:
    for index, rows in enumerate(params.parts):
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        out.write("documents", pa.table(dict(zip(RAW.names, map(list, columns), strict=True)), schema=RAW), part=index)
    total = sum(map(len, params.parts))
    out.count("documents", total, out=total)


def raw_documents(store: Store, parts: Iterable[Sequence[tuple[str, str | None, str]]]) -> Artifact:
    """Commit an extract whose parts are rows of (doc_id, url, text)."""
    # Made here and not by `@stage`: the registry's `extract` is the real one.
    made = Stage(
        _write, name="extract", version=0, libraries=(), tables={"documents": RAW}, one_to_one=False, fingerprint=None
    )
    return made.run(store, params=RawParams(parts=[list(rows) for rows in parts]))
