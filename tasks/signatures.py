"""The `signatures` stage: what dedup needs to know of each document, so that it never reads a text.

One row a document that the parent keeps: a digest of the text for exact duplicates, a MinHash signature for near
ones, the canonical URL, and the length and capture time that the keep policy looks at. 0.6 kB a document before
compression, whatever the length of its text.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from infra.params import Params
from infra.stage import Draft, Part, stage
from tasks.dedup.minhash import signature
from tasks.dedup.normalise import plain, simplify, text_digest
from tasks.dedup.urls import canonical_url
from tasks.documents import Documents, columns_of, open_part

TIME = pa.timestamp("us", tz="UTC")
SIGNATURES = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("url_canonical", pa.string()),  # null for documents without URL
        ("captured_at", TIME),
        ("text_digest", pa.string()),  # 32 hex: BLAKE2b-128 of the text with whitespace evened out
        ("n_chars", pa.int64()),  # code points of that text
        ("n_words", pa.int64()),  # words of the simplified text, of which the shingles are made
        ("signature", pa.binary()),  # num_perm little-endian uint32; null for a text without words
    ]
)


class SignatureParams(Params):
    """How documents are turned into sets and sketched. Corpora deduplicated together must agree in all of it."""

    ngram: int = Field(5, ge=1, description="Words in a shingle (5: FineWeb, RefinedWeb).")
    num_perm: int = Field(112, ge=8, description="Permutations in a signature (112 = 14 bands x 8: FineWeb).")
    seed: int = Field(1, ge=0, lt=1 << 32, description="Seed of the permutations.")


@stage("signatures", version=1, libraries=("datasketch", "xxhash"), tables={"signatures": SIGNATURES}, one_to_one=True)
def signatures(documents: Documents, params: SignatureParams, out: Draft) -> None:  # noqa: ARG001
    """Digest, MinHash signature and canonical URL of each document."""
    out.map_parts(signatures_part, along=documents)


def signatures_part(part: Part) -> None:
    """Sign one part."""
    documents = part.parent("documents")
    known = set(columns_of(documents))
    table = open_part(documents, part.index, ["text", *(name for name in ("url", "captured_at") if name in known)])
    signed = sign(table, part.params)
    part.write("signatures", signed)
    part.count("documents", table.num_rows, out=signed.num_rows)
    part.metric("without_words", signed.column("signature").null_count)
    part.metric(
        "shorter_than_a_shingle", int(pc.sum(pc.less(signed.column("n_words"), part.params.ngram)).as_py() or 0)
    )


def sign(documents: pa.Table, params: SignatureParams) -> pa.Table:
    """The rows of `SIGNATURES` for a table with doc_id, row, text and, if known, url and captured_at."""
    rows = [_sign_text(text, params) for text in documents.column("text").to_pylist()]
    columns: list[Sequence] = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return pa.table(
        {
            "doc_id": documents.column("doc_id"),
            "row": documents.column("row"),
            "url_canonical": pa.array(_canonical_urls(documents), type=pa.string()),
            "captured_at": as_times(
                documents.column("captured_at")
                if "captured_at" in documents.column_names
                else pa.nulls(documents.num_rows, TIME)
            ),
            "text_digest": pa.array(columns[0], type=pa.string()),
            "n_chars": pa.array(columns[1], type=pa.int64()),
            "n_words": pa.array(columns[2], type=pa.int64()),
            "signature": pa.array(columns[3], type=pa.binary()),
        },
        schema=SIGNATURES,
    )


def _sign_text(text: str, params: SignatureParams) -> tuple[str, int, int, bytes | None]:
    evened, simplified = plain(text), simplify(text)
    n_words = simplified.count(" ") + 1 if simplified else 0
    sketch = signature(simplified, params.ngram, params.num_perm, params.seed)
    return text_digest(evened), len(evened), n_words, sketch


def _canonical_urls(documents: pa.Table) -> list[str | None]:
    if "url" not in documents.column_names:
        return [None] * documents.num_rows
    return [canonical_url(url) if url else None for url in documents.column("url").to_pylist()]


def as_times(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Capture times as UTC microseconds; ISO 8601 strings are read, a string that is no time becomes null."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        seconds = pc.utf8_slice_codeunits(column, 0, len("2024-05-18T09:00:00"))
        return pc.strptime(seconds, "%Y-%m-%dT%H:%M:%S", "us", error_is_null=True).cast(TIME)
    return column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None) or "UTC")).cast(TIME)
