"""Sizes and distributions: what sets a page apart from the others in its corpus."""

import numpy as np
import pyarrow as pa

from tasks.filters.gopher import FloatArray, IntArray
from tasks.words import SplitText, WordBatch

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_chars", pa.int32()),  # code points of the text, white space included
    pa.field("n_paragraphs", pa.int32()),
)


def signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """The signals of each document of a batch: name -> (n_documents,)."""
    documents = batch.documents
    return {
        "n_chars": np.array([len(document.text) for document in documents], np.int64),
        "n_paragraphs": np.array([_paragraphs(document) for document in documents], np.int64),
    }


def _paragraphs(document: SplitText) -> int:
    return document.paragraphs[-1] + 1 if document.paragraphs else 0
