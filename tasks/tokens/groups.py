"""Groups: the ids of consecutive parts put together, one indexed file a (domain, split), and the table of documents.

A group that is done is marked by `done.json`, written last; then the folders of its parts go.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.files import write_text
from infra.tables import read_table, write_table
from model.indexed import IndexedWriter
from tasks.tokens.encode import TABLE_FILE, part_folder, stream_file
from tasks.tokens.files import DOCUMENTS, TokenFile, file_name, in_stream_order

DONE_FILE = "done.json"


def group_parts(sizes: Sequence[int], group_bytes: int) -> list[range]:
    """Cut the parts 0 … n-1 into runs: a run ends with the part that brings it to `group_bytes`."""
    groups, start, total = [], 0, 0
    for part, size in enumerate(sizes):
        total += size
        if total >= group_bytes or part == len(sizes) - 1:
            groups.append(range(start, part + 1))
            start, total = part + 1, 0
    return groups


def group_folder(keep: Path, number: int) -> Path:
    """Where a group is put together."""
    return keep / f"group-{number:05d}"


def write_group(keep: Path, number: int, parts: range, dtype: np.dtype) -> None:
    """Put the ids of encoded parts together: pairs of files and the table of their documents, by (part, row)."""
    folder = group_folder(keep, number)
    writers: dict[tuple[str, str], IndexedWriter] = {}
    lengths: dict[tuple[str, str], int] = {}  # tokens of each stream so far
    tables = []
    for part in parts:
        encoded = read_table(part_folder(keep, part) / TABLE_FILE)
        n_tokens = encoded["n_tokens"].to_numpy()
        ends = np.zeros(encoded.num_rows, np.int64)
        names = np.full(encoded.num_rows, None, object)
        for stream in _streams(encoded):
            mine = _of_stream(encoded, stream)
            if stream not in writers:
                writers[stream] = IndexedWriter(folder / file_name(*stream, number), dtype)
                lengths[stream] = 0
            writers[stream].add_file(stream_file(part_folder(keep, part), *stream), n_tokens[mine])
            ends[mine] = lengths[stream] + np.cumsum(n_tokens[mine])
            lengths[stream] += int(n_tokens[mine].sum())
            names[mine] = file_name(*stream, number)
        columns = {
            "part": np.full(encoded.num_rows, part, np.int32),
            "file": pa.array(names, pa.string()),
            "token_start": ends - n_tokens,
            "token_end": ends,
            **{name: encoded[name] for name in ("doc_id", "row", "domain", "split", "n_bytes")},
        }
        tables.append(pa.table({name: columns[name] for name in DOCUMENTS.names}).cast(DOCUMENTS))
    for writer in writers.values():
        writer.close()
    write_table(folder / TABLE_FILE, pa.concat_tables(tables))


def _streams(encoded: pa.Table) -> list[tuple[str, str]]:
    """(domain, split) of a table's documents."""
    pairs = encoded.group_by(["domain", "split"], use_threads=False).aggregate([])
    return sorted(zip(pairs["domain"].to_pylist(), pairs["split"].to_pylist(), strict=True))


def _of_stream(encoded: pa.Table, stream: tuple[str, str]) -> np.ndarray:
    domain, split = stream
    chosen = pc.and_(pc.equal(encoded["domain"], domain), pc.equal(encoded["split"], split))
    return chosen.to_numpy(zero_copy_only=False)


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
