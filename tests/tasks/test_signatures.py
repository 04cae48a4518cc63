from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tasks.dedup.minhash import signature
from tasks.dedup.normalise import simplify
from tasks.signatures import SIGNATURES, SignatureParams, as_times, sign


def documents(*texts: str, **columns: list) -> pa.Table:
    n = len(texts)
    return pa.table(
        {"doc_id": [f"d{k}" for k in range(n)], "row": pa.array(range(n), pa.int32()), "text": list(texts), **columns}
    )


def test_a_row_a_document_with_what_dedup_needs() -> None:
    text = "Ten Green  Bottles\nhanging on the wall, 10!"
    table = sign(
        documents(text, url=["HTTP://www.example.org/a/?utm_source=x"], captured_at=["2024-05-18T09:00:00Z"]),
        SignatureParams(),
    )
    assert table.schema == SIGNATURES
    (row,) = table.to_pylist()
    assert row["url_canonical"] == "example.org/a"
    assert row["captured_at"] == datetime(2024, 5, 18, 9, tzinfo=UTC)
    assert row["n_chars"] == len("Ten Green Bottles hanging on the wall, 10!")
    assert row["n_words"] == 8
    assert row["signature"] == signature(simplify(text), 5, 112, 1)
    assert len(row["signature"]) == 112 * 4


def test_documents_without_url_time_or_words_are_signed_all_the_same() -> None:
    rows = sign(documents("", "…", "one"), SignatureParams()).to_pylist()
    assert [row["signature"] is None for row in rows] == [True, True, False]
    assert [row["n_words"] for row in rows] == [0, 0, 1]
    assert all(row["url_canonical"] is None and row["captured_at"] is None for row in rows)
    assert len({row["text_digest"] for row in rows}) == 3


def test_no_documents_are_no_rows() -> None:
    empty = documents("x").slice(0, 0)
    assert sign(empty, SignatureParams()).schema == SIGNATURES


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["2024-05-18T09:00:00Z", "not a time", None]),
        pa.array([datetime(2024, 5, 18, 9, tzinfo=UTC), None, None], pa.timestamp("s", tz="UTC")),
        pa.array([datetime(2024, 5, 18, 9), None, None], pa.timestamp("ms")),
    ],
)
def test_times_are_read_from_text_and_from_any_timestamp(column: pa.Array) -> None:
    assert as_times(column).to_pylist() == [datetime(2024, 5, 18, 9, tzinfo=UTC), None, None]
