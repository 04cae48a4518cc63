"""What a `tokens` artifact holds, in the one order that everybody reads it in.

    general/train-00000.bin .idx      Megatron's indexed format (model/indexed.py), one sequence a document
    general/train-00001.bin .idx      the next group of parts
    general/validation-00000.bin …
    general/anneal-00000.bin …        what the mix marks for the last phase; its documents are in train too
    index.json                        the files in their order, the dtype, the ids that readers need
    documents/part-00000.parquet      which tokens of which file are which document; part k is group k

A split's stream is its files one after the other, by domain and then by group: this is the order that training
numbers its rows in, so a position in the stream is a document for good.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from infra.errors import BadInput
from infra.store import Artifact

INDEX_FILE = "index.json"
ANNEAL = "anneal"  # a split of copies; and the column of the mix that marks them
DOCUMENTS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("part", pa.int32()),
        ("row", pa.int32()),
        ("domain", pa.string()),
        ("split", pa.string()),
        ("file", pa.string()),  # without .bin
        ("token_start", pa.int64()),  # in that file
        ("token_end", pa.int64()),  # exclusive; the last token is <|endoftext|>
        ("n_bytes", pa.int64()),  # of the text in UTF-8
    ]
)


class Tokens(Artifact):
    """Role: a tokenized corpus."""

    accepts = ("tokens",)


@dataclass(frozen=True)
class TokenFile:
    """One .bin/.idx pair. `n_bytes` is the UTF-8 size of its documents, what bits per byte are divided by."""

    file: str
    domain: str
    split: str
    group: int
    documents: int
    tokens: int
    n_bytes: int


def stream_folder(domain: str) -> str:
    """The folder of a domain. A domain is a label, so what a path may not hold is escaped."""
    folder = quote(domain, safe="")
    return (folder.replace(".", "%2E") or "%") if set(folder) <= {"."} else folder


def file_name(domain: str, split: str, group: int) -> str:
    """Path of a pair without suffix, relative to data/."""
    return f"{stream_folder(domain)}/{split}-{group:05d}"


def in_stream_order(files: Iterable[TokenFile]) -> list[TokenFile]:
    """By split, domain and group."""
    return sorted(files, key=lambda file: (file.split, file.domain, file.group))


def index_json(files: Iterable[TokenFile], dtype: str, vocab_size: int, end_of_text: int) -> str:
    """The content of index.json."""
    content = {
        "dtype": dtype,
        "vocab_size": vocab_size,
        "end_of_text": end_of_text,
        "files": [asdict(file) for file in in_stream_order(files)],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_index(tokens: Artifact) -> dict[str, Any]:
    """index.json as it is; `token_files` gives its files as objects."""
    return json.loads(tokens.file(INDEX_FILE).read_text(encoding="utf-8"))


def token_files(tokens: Artifact, split: str, domain: str | None = None) -> list[TokenFile]:
    """The files of a split's stream in order; of one domain only, if given.

    Raises:
        BadInput: there are none; the message lists what there is.
    """
    files = [TokenFile(**entry) for entry in read_index(tokens)["files"]]
    found = [file for file in files if file.split == split and domain in (None, file.domain)]
    if not found:
        known = sorted({f"{file.domain}/{file.split}" for file in files})
        wanted = f"text of {split}" if domain is None else f"{domain}/{split}"
        raise BadInput(f"{tokens.ref} holds no {wanted}; it holds {', '.join(known)}")
    return found


def prefixes(tokens: Artifact, files: Sequence[TokenFile]) -> list[Path]:
    """Paths without suffix, as `model.indexed.IndexedDataset` takes them."""
    return [tokens.file(f"{file.file}.idx").with_suffix("") for file in files]
