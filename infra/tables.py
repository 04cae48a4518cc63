"""Parquet with equal bytes for equal rows.

Parquet's bytes depend on how rows were batched and on who wrote them. Every table of the store is written here, with
one writer, one codec and row groups of a fixed number of rows, so that a file's sha256 says whether its rows changed.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from infra.errors import BadInput
from infra.files import replacing

ROWS_PER_GROUP = 4096
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 3


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns, order and types.

    Raises:
        BadInput: a column is missing, is not in the schema, or cannot be cast without loss.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in schema.names]
    if missing or extra:
        raise BadInput(f"table does not fit its declared schema: missing columns {missing}, unknown columns {extra}")
    return table.select(schema.names).cast(schema).replace_schema_metadata(None)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, atomically; equal rows and schema give equal bytes."""
    flat = table.replace_schema_metadata(None).combine_chunks()
    with replacing(path) as temporary:
        pq.write_table(
            flat,
            temporary,
            row_group_size=ROWS_PER_GROUP,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            write_statistics=True,
            store_schema=True,
        )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read some or all columns of one Parquet file, in the order asked for."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns=None if columns is None else list(columns))
    return table if columns is None else table.select(list(columns))


def row_count(path: Path) -> int:
    """Number of rows from a Parquet file's footer."""
    with pq.ParquetFile(path) as file:
        return file.metadata.num_rows
