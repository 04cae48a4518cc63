import pyarrow as pa
import pytest

from infra.errors import BadInput
from infra.tables import conform, read_table, write_table

SCHEMA = pa.schema([("n", pa.int32()), ("text", pa.string())])


def test_equal_rows_give_equal_bytes_however_they_were_batched(tmp_path):
    rows = pa.table({"n": list(range(10_000)), "text": [f"row {n % 97}" for n in range(10_000)]}).cast(SCHEMA)
    pieces = pa.concat_tables([rows.slice(start, 777) for start in range(0, 10_000, 777)])
    write_table(tmp_path / "whole", rows)
    write_table(tmp_path / "pieces", pieces.replace_schema_metadata({"made": "elsewhere"}))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()
    assert read_table(tmp_path / "whole", ["text", "n"]).column_names == ["text", "n"]


def test_conform_names_missing_and_unknown_columns():
    assert conform(pa.table({"text": ["a"], "n": pa.array([1], pa.int64())}), SCHEMA).schema == SCHEMA
    with pytest.raises(BadInput, match=r"missing columns \['text'\], unknown columns \['words'\]"):
        conform(pa.table({"n": [1], "words": [2]}), SCHEMA)
