"""A mix as the stages after it read it: labels of its documents first, texts only of those that are wanted."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from infra.store import Artifact
from tasks.documents import columns_of, open_part

UNKNOWN = "unknown"  # the language of a document when no stage has said it


class Corpus(Artifact):
    """Role: the final text of a corpus, with its split and domains."""

    accepts = ("mix",)


class Label(NamedTuple):
    """What is known of a document besides its text. `row` counts the rows of the base text's part."""

    doc_id: str
    row: int
    split: str
    domain: str
    language: str
    n_bytes: int  # of the text in UTF-8


def read_labels(corpus: Corpus, part: int) -> list[Label]:
    """The labels of a part's documents in row order."""
    table = open_part(corpus, part, ["split", "domain", "n_bytes"])
    rows = table["row"].to_pylist()
    columns = (table[name].to_pylist() for name in ("split", "domain", "n_bytes"))
    labels = zip(table["doc_id"].to_pylist(), rows, *columns, _languages(corpus, part, rows), strict=True)
    return [
        Label(doc_id, row, split, domain, language or UNKNOWN, n_bytes)
        for doc_id, row, split, domain, n_bytes, language in labels
    ]


def read_texts(corpus: Corpus, part: int) -> pa.ChunkedArray:
    """The texts of a part's documents in row order, still in Arrow: `[i].as_py()` decodes one."""
    return open_part(corpus, part, ["text"])["text"]


def _languages(corpus: Corpus, part: int, rows: list[int]) -> list[str | None]:
    """The language of each row, from the mix or from what it was made of."""
    if "language" in columns_of(corpus):
        return open_part(corpus, part, ["language"])["language"].to_pylist()
    sources = corpus.parents("documents")
    if len(sources) != 1 or "language" not in columns_of(sources[0]):
        return [None] * len(rows)
    known = open_part(sources[0], part, ["language"])  # part k of a mix is made of part k of its parent
    places = np.searchsorted(known["row"].to_numpy(), np.asarray(rows, dtype=np.int32))
    return known["language"].take(pa.array(places)).to_pylist()
