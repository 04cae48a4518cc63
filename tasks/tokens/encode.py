"""Encoding a mix part by part: one Spark task a part, each leaving a folder that survives a kill.

    keep/part-00012/general/train.bin       ids of the part's documents of that domain and split, in row order
    keep/part-00012/documents.parquet       which documents they are, and how many tokens each has

A folder appears whole, by one rename, so one that is there is done. What it holds depends on the part and the tokenizer
alone. `tasks/tokens/groups.py` puts the files of consecutive parts together.
"""

import errno
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from infra.errors import SluiceError
from infra.files import fsync_path
from infra.params import Runtime
from infra.stage.part import open_cached
from infra.stage.watch import repeating
from infra.tables import write_table
from model.indexed import token_dtype
from tasks.corpus import Corpus, Label, read_labels, read_texts
from tasks.documents import columns_of, open_part
from tasks.encoding import Encoder
from tasks.tokenizer import Vocabulary
from tasks.tokens.files import ANNEAL, stream_folder

BATCH_BYTES = 4 << 20  # text taken out of Arrow at once: little beside the part itself
SPARK_FROM_BYTES = 32 << 20  # less text is encoded in the time that starting Spark's workers takes
TABLE_FILE = "documents.parquet"
ENCODED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("domain", pa.string()),
        ("split", pa.string()),
        ("n_tokens", pa.int64()),  # <|endoftext|> included
        ("n_bytes", pa.int64()),
    ]
)


@dataclass(frozen=True)
class EncodeJob:
    """One part to encode; plain values, so that it travels to any worker."""

    store: str
    documents: str  # reference of the mix
    tokenizer: str
    part: int
    n_bytes: int  # of its text in UTF-8
    keep: str
    annealing: bool


@dataclass(frozen=True)
class Failure:
    """Why a part could not be encoded."""

    part: int
    message: str
    expected: bool  # the message is all that the user needs
    code: int | None = None  # of the operating system


def part_folder(keep: Path, part: int) -> Path:
    """Where the ids of a part lie; it exists when they are complete."""
    return keep / f"part-{part:05d}"


def encode_parts(jobs: Sequence[EncodeJob], runtime: Runtime, tell: Callable[[int], None]) -> None:
    """Encode the parts that have no folder yet: in this process if they are small, else on Spark.

    Args:
        tell: is told from time to time how many of them are done.

    Raises:
        SluiceError: something that the user can mend.
        OSError: the disk is full.
        RuntimeError: an error nobody foresaw, with the worker's traceback. Parts that were done stay.
    """
    todo = [job for job in jobs if not part_folder(Path(job.keep), job.part).is_dir()]
    failures: list[Failure | None] = []
    if sum(job.n_bytes for job in todo) < SPARK_FROM_BYTES:
        for job in todo:
            failures.append(encode_job(job))
            tell(len(failures))
    else:
        from infra.spark import session  # imported late: it is not needed for little text

        context = session(runtime).sparkContext
        with repeating(lambda: tell(sum(part_folder(Path(job.keep), job.part).is_dir() for job in todo))):
            failures = context.parallelize(todo, len(todo)).map(encode_in_worker).collect()
    for failure in failures:
        if failure is not None:
            raise _error(failure)


def encode_in_worker(job: EncodeJob) -> Failure | None:
    """`encode_job` in one of as many processes as there are cores: each on one thread."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return encode_job(job)


def encode_job(job: EncodeJob) -> Failure | None:
    """Encode a part into its folder; a failure is returned, since Spark would only try it again."""
    folder = part_folder(Path(job.keep), job.part)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        mix = open_cached(job.store, job.documents)
        corpus = Corpus(mix.store, mix.manifest)
        partial.mkdir()
        write_part(partial, corpus, job.part, _encoder(job.store, job.tokenizer), job.annealing)
        partial.rename(folder)
    except SluiceError as error:
        return Failure(job.part, str(error), expected=True)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and folder.is_dir():
            return None  # a worker of a killed run that lived on has made the same folder
        return Failure(job.part, traceback.format_exc(), expected=False, code=error.errno)
    except Exception:  # noqa: BLE001  every failure of a part is reported by the driver
        return Failure(job.part, traceback.format_exc(), expected=False)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return None


def write_part(folder: Path, corpus: Corpus, part: int, encoder: Encoder, annealing: bool) -> None:
    """Write the ids of a part's documents, by domain and split, and the table of the documents.

    Args:
        annealing: training documents that the mix marks for the last phase are written a second time, as split
            `anneal`.
    """
    dtype = token_dtype(encoder.vocab_size)
    end = np.array([encoder.end_of_text], dtype=dtype).tobytes()
    columns: dict[str, list] = {name: [] for name in ENCODED.names}
    marked = _marked(corpus, part) if annealing else set()
    with ExitStack() as stack:
        files: dict[tuple[str, str], BinaryIO] = {}
        for label, ids in encoded_documents(corpus, part, encoder):
            stored = ids.astype(dtype).tobytes()
            for split in (label.split, ANNEAL) if label.split == "train" and label.row in marked else (label.split,):
                stream = label.domain, split
                if stream not in files:
                    path = stream_file(folder, *stream)
                    path.parent.mkdir(exist_ok=True)
                    files[stream] = stack.enter_context(path.open("wb"))
                files[stream].write(stored)
                files[stream].write(end)
                values = label.doc_id, label.row, label.domain, split, len(ids) + 1, label.n_bytes
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    for stream in files:
        fsync_path(stream_file(folder, *stream))
    write_table(folder / TABLE_FILE, pa.table(columns, schema=ENCODED))


def stream_file(folder: Path, domain: str, split: str) -> Path:
    """The ids of a domain and split in a part's folder."""
    return folder / stream_folder(domain) / f"{split}.bin"


def encoded_documents(corpus: Corpus, part: int, encoder: Encoder) -> Iterator[tuple[Label, np.ndarray]]:
    """(label, ids uint32) of each document of a part, in row order."""
    texts = read_texts(corpus, part)
    labels = read_labels(corpus, part)
    start = 0
    while start < len(labels):
        end, size = start, 0
        while end < len(labels) and (end == start or size + labels[end].n_bytes <= BATCH_BYTES):
            size += labels[end].n_bytes
            end += 1
        encoded = encoder.encode_documents(texts.slice(start, end - start).to_pylist())
        yield from zip(labels[start:end], encoded, strict=True)
        start = end


def _marked(corpus: Corpus, part: int) -> set[int]:
    """Rows that the mix has chosen for the last phase of training."""
    if ANNEAL not in columns_of(corpus):
        return set()
    table = open_part(corpus, part, [ANNEAL])
    return set(table.filter(table[ANNEAL])["row"].to_pylist())


@lru_cache(maxsize=4)
def _encoder(store: str, tokenizer: str) -> Encoder:
    artifact = open_cached(store, tokenizer)
    return Vocabulary(artifact.store, artifact.manifest).encoder


def _error(failure: Failure) -> Exception:
    if failure.expected:
        return SluiceError(failure.message)
    if failure.code is not None:
        return OSError(failure.code, f"tokens, part {failure.part}: {failure.message}")
    return RuntimeError(f"tokens, part {failure.part}: {failure.message}")
