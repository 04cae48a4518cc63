"""Texts from files that Sluice did not make: JSONL (plain, gzip or zstd) and Parquet with a column of text.

What a file is, its first bytes say, not its name.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from infra.errors import BadInput
from infra.stage import Source
from infra.store.digests import DigestCache

GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
TEXT_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".parquet")
PARQUET_ROWS = 1024  # read at a time
READ_BYTES = 1 << 20

Problem = str  # why a line holds no text


class TextRow(NamedTuple):
    """One text of a file. `row` counts the file's lines or rows from 0, unusable ones included."""

    row: int
    text: str
    url: str | None
    label: str | None


def open_texts(places: Sequence[str | Path], digests: DigestCache) -> Source:
    """Files of texts, digested: files as named, and of folders whatever ends like one.

    Raises:
        BadInput: a place does not exist or holds no such file.
    """
    files: list[Path] = []
    for place in map(Path, places):
        found = (
            sorted(path for path in place.rglob("*") if path.name.endswith(TEXT_SUFFIXES))
            if place.is_dir()
            else [place]
        )
        if not found or not all(path.is_file() for path in found):
            raise BadInput(f"{place}: no such file, or no file in it that ends in {', '.join(TEXT_SUFFIXES)}")
        files.extend(found)
    return Source.of_files(list(dict.fromkeys(files)), digests)


def read_rows(path: Path, text_column: str, label_column: str | None = None) -> Iterator[TextRow | Problem]:
    """The texts of a file in order, and for each record without one the reason.

    `url` is taken where there is such a column.

    Raises:
        BadInput: the file is neither JSONL nor Parquet, is cut off, or no column is called `text_column`.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
    records = _parquet(path, text_column) if magic == PARQUET else _jsonl(path, magic)
    for row, record in enumerate(records):
        if record is None:
            yield "not_json"
            continue
        text = record.get(text_column)
        if not isinstance(text, str):
            yield "no_text"
            continue
        label = record.get(label_column) if label_column is not None else None
        if label_column is not None and not isinstance(label, str):
            yield "no_label"
            continue
        url = record.get("url")
        yield TextRow(row, text, url if isinstance(url, str) and url else None, label)


def _jsonl(path: Path, magic: bytes) -> Iterator[dict[str, Any] | None]:
    try:
        with _decompressed(path, magic) as stream:
            for line in stream:
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                yield record if isinstance(record, dict) else None
    except (EOFError, OSError) as error:
        raise BadInput(f"{path}: cannot be read to its end ({error}); fetch the file again") from error


@contextmanager
def _decompressed(path: Path, magic: bytes) -> Iterator[Iterable[bytes]]:
    if magic[:2] == GZIP:
        with gzip.open(path, "rb") as stream:
            yield stream
    elif magic == ZSTD:
        with path.open("rb") as raw:
            yield _lines_of_zstd(raw)
    else:
        with path.open("rb") as stream:
            yield stream


def _lines_of_zstd(raw: IO[bytes]) -> Iterator[bytes]:
    """Lines of a zstd stream. The library's own reader takes a frame that is cut off for one that has ended."""
    import zstandard

    rest, frame, unread = b"", zstandard.ZstdDecompressor().decompressobj(), b""
    try:
        while chunk := unread or raw.read(READ_BYTES):
            if frame.eof:  # the next frame begins
                frame = zstandard.ZstdDecompressor().decompressobj()
            *lines, rest = (rest + frame.decompress(chunk)).split(b"\n")
            unread = frame.unused_data if frame.eof else b""
            yield from lines
    except zstandard.ZstdError as error:
        raise OSError(str(error)) from error
    if not frame.eof:
        raise EOFError("the last zstd frame is cut off")
    yield rest


def _parquet(path: Path, text_column: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_column not in names:
                raise BadInput(f"{path}: no column {text_column!r}; there are: {', '.join(names)}")
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: cannot be read as Parquet ({error})") from error
