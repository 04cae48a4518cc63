"""The `tokens` stage: a mix as token ids, in files that training maps into memory.

Consecutive parts make a group of about `group_bytes`; a group gives one file a (domain, split). A document is its ids
and `<|endoftext|>`; documents stay in the order of (part, row), since shuffling is the loader's. A group that is done
is marked and survives a kill; the next run goes on with the one after it. How the text is cut into batches and how
many threads encode them changes no byte.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from infra.errors import BadInput
from infra.files import link_or_copy, write_text
from infra.params import Params
from infra.stage import Draft, stage
from infra.tables import read_table, write_table
from model.indexed import IndexedWriter, bin_path, idx_path, token_dtype
from tasks.corpus import Corpus, Label, read_labels, read_texts
from tasks.documents import part_count
from tasks.encoding import Encoder
from tasks.tokenizer import Vocabulary
from tasks.tokens.files import DOCUMENTS, INDEX_FILE, TokenFile, file_name, in_stream_order, index_json

BATCH_BYTES = 4 << 20  # text handed to the encoder at once: enough for all its threads, little beside the part itself
DONE_FILE = "done.json"
TABLE_FILE = "documents.parquet"


class TokensParams(Params):
    """How the files are cut."""

    group_bytes: int = Field(
        1_000_000_000, ge=1, description="UTF-8 bytes of text after which the next part begins a new group of files."
    )


@stage("tokens", version=1, libraries=("tokenizers",), tables={"documents": DOCUMENTS})
def tokens(documents: Corpus, tokenizer: Vocabulary, params: TokensParams, out: Draft) -> None:
    """Encode every document of a mix into Megatron's indexed files.

    Raises:
        BadInput: the mix holds no documents.
    """
    encoder = tokenizer.encoder
    sizes = [sum(label.n_bytes for label in read_labels(documents, part)) for part in range(part_count(documents))]
    groups = group_parts(sizes, params.group_bytes)
    files: list[TokenFile] = []
    for number, parts in enumerate(groups):
        folder = out.keep / f"group-{number:05d}"
        if not is_done(folder):
            write_group(folder, number, documents, parts, encoder)
            out.check_lock()
            mark_done(folder)
        out.progress(number + 1, len(groups), f"{sum(sizes[: parts[-1] + 1]):,} of {sum(sizes):,} bytes of text")
        for file in read_done(folder):
            for path in (bin_path(folder / file.file), idx_path(folder / file.file)):
                link_or_copy(path, out.path(path.relative_to(folder).as_posix()))
            files.append(file)
        out.write("documents", read_table(folder / TABLE_FILE), part=number)
    if not files:
        raise BadInput(f"{documents.ref} holds no documents, so there is nothing to tokenize")
    dtype = token_dtype(encoder.vocab_size)
    write_text(out.path(INDEX_FILE), index_json(files, dtype.name, encoder.vocab_size, encoder.end_of_text))
    n_documents = sum(file.documents for file in files)
    out.count("documents", n_documents, out=sum(file.tokens for file in files), out_unit="tokens")
    out.metrics["splits"] = totals_by(files, "split")
    out.metrics["domains"] = totals_by(files, "domain")


def group_parts(sizes: Sequence[int], group_bytes: int) -> list[range]:
    """Cut the parts 0 … n-1 into runs: a run ends with the part that brings it to `group_bytes`."""
    groups, start, total = [], 0, 0
    for part, size in enumerate(sizes):
        total += size
        if total >= group_bytes or part == len(sizes) - 1:
            groups.append(range(start, part + 1))
            start, total = part + 1, 0
    return groups


def write_group(folder: Path, number: int, documents: Corpus, parts: range, encoder: Encoder) -> None:
    """Encode the parts of one group into `folder`: pairs of files and the table of their documents."""
    dtype = token_dtype(encoder.vocab_size)
    writers: dict[str, IndexedWriter] = {}
    lengths: dict[str, int] = {}
    rows: dict[str, list] = {name: [] for name in DOCUMENTS.names}
    for part in parts:
        for label, ids in encode_part(documents, part, encoder):
            name = file_name(label.domain, label.split, number)
            if name not in writers:
                writers[name] = IndexedWriter(folder / name, dtype)
                lengths[name] = 0
            writers[name].add_document(ids)
            start, lengths[name] = lengths[name], lengths[name] + len(ids)
            values = (
                label.doc_id, part, label.row, label.domain, label.split, name, start, lengths[name], label.n_bytes
            )  # fmt: skip
            for column, value in zip(DOCUMENTS.names, values, strict=True):
                rows[column].append(value)
    for writer in writers.values():
        writer.close()
    write_table(folder / TABLE_FILE, pa.table(rows, schema=DOCUMENTS))


def encode_part(documents: Corpus, part: int, encoder: Encoder) -> Iterator[tuple[Label, np.ndarray]]:
    """(label, ids with `<|endoftext|>` at the end) of each document of a part, in row order."""
    texts = read_texts(documents, part)
    labels = read_labels(documents, part)
    start = 0
    while start < len(labels):
        end, size = start, 0
        while end < len(labels) and (end == start or size + labels[end].n_bytes <= BATCH_BYTES):
            size += labels[end].n_bytes
            end += 1
        encoded = encoder.encode_batch(texts.slice(start, end - start).to_pylist())
        for label, ids in zip(labels[start:end], encoded, strict=True):
            yield label, np.array([*ids, encoder.end_of_text], dtype=np.int64)
        start = end


def mark_done(folder: Path) -> None:
    """Write the mark of a finished group: its files and what they hold."""
    table = read_table(folder / TABLE_FILE)
    summary = table.group_by(["file", "domain", "split"], use_threads=False).aggregate(
        [("token_end", "max"), ("n_bytes", "sum"), ("n_bytes", "count")]
    )
    files = [
        TokenFile(
            file=row["file"],
            domain=row["domain"],
            split=row["split"],
            group=int(folder.name.removeprefix("group-")),
            documents=row["n_bytes_count"],
            tokens=row["token_end_max"],
            n_bytes=row["n_bytes_sum"],
        )
        for row in summary.to_pylist()
    ]
    write_text(folder / DONE_FILE, json.dumps([asdict(file) for file in in_stream_order(files)]))


def is_done(folder: Path) -> bool:
    """Whether an earlier run finished this group."""
    return (folder / DONE_FILE).is_file()


def read_done(folder: Path) -> list[TokenFile]:
    """The files of a finished group."""
    return [TokenFile(**entry) for entry in json.loads((folder / DONE_FILE).read_text(encoding="utf-8"))]


def totals_by(files: Sequence[TokenFile], field: str) -> dict[str, dict[str, int]]:
    """name -> {"documents", "tokens", "bytes"} by "split" or "domain". Bytes are UTF-8, of the text."""
    totals: dict[str, dict[str, int]] = {}
    for file in in_stream_order(files):
        entry = totals.setdefault(getattr(file, field), {"documents": 0, "tokens": 0, "bytes": 0})
        entry["documents"] += file.documents
        entry["tokens"] += file.tokens
        entry["bytes"] += file.n_bytes
    return totals
