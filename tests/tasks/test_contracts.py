"""The contracts between stages: schemas, golden rows, accounts that add up, bytes that depend on nothing else.

When a golden digest changes, the stage's output changed: raise its VERSION, then write the new digests with

    SLUICE_WRITE_GOLDEN=1 python -m pytest tests/tasks/test_contracts.py
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from infra.canonical import canonical_json
from infra.store import Store
from tests.tasks.conftest import curate

GOLDEN = Path(__file__).with_name("golden.json")
STAGES = ("extract", "measure", "filter", "signatures", "dedup", "pii", "mix")
WRITE = "SLUICE_WRITE_GOLDEN" in os.environ


def row_digest(artifact, table: str) -> str:
    """Digest of the rows, independent of how Parquet stores them."""
    sha = hashlib.sha256()
    for row in artifact.read_table(table).to_pylist():
        plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
        sha.update(canonical_json({name: _text(value) for name, value in plain.items()}))
    return sha.hexdigest()[:16]


def _text(value):
    if isinstance(value, list):
        return [_text(one) for one in value]
    if isinstance(value, dict):
        return {name: _text(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def contract(artifact) -> dict:
    tables = {
        table: {"columns": columns, "rows": row_digest(artifact, table)}
        for table, columns in artifact.manifest.tables.items()
    }
    counts = artifact.manifest.counts.model_dump(by_alias=True)
    return {"version": artifact.manifest.code.stage_version, "counts": counts, "tables": tables}


@pytest.mark.parametrize("stage", STAGES)
def test_schema_counts_and_rows_are_as_pinned(curated, stage):
    found = contract(curated[stage])
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if WRITE:
        GOLDEN.write_text(json.dumps({**golden, stage: found}, indent=1, sort_keys=True) + "\n")
        return
    assert found == golden[stage], f"{stage} writes something else than pinned: raise its VERSION and pin it anew"


@pytest.mark.parametrize("stage", STAGES)
def test_what_comes_in_is_used_or_dropped_and_goes_on(curated, stage):
    counts = curated[stage].manifest.counts
    assert counts.problem() is None
    after = STAGES.index(stage) + 1
    if after < len(STAGES):
        assert curated[STAGES[after]].manifest.counts.in_.n == counts.out.n


def test_folder_and_order_change_neither_versions_nor_bytes(curated, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in sorted(curated.crawl.rglob("*.warc.gz"), reverse=True):
        shutil.copy(path, moved / path.name)
    again = curate(Store(tmp_path / "store"), *sorted(moved.iterdir(), reverse=True))
    for stage in STAGES:
        assert again[stage].ref == curated[stage].ref
        assert again[stage].manifest.files == curated[stage].manifest.files


def test_one_more_warc_computes_only_its_part_and_its_copies_are_dropped(curated, tmp_path):
    grown = tmp_path / "grown"
    shutil.copytree(curated.crawl, grown)
    first = min(curated.crawl.rglob("*.warc.gz"))
    shutil.copy(first, grown / f"a-{first.name}")  # sorts first: every old part gets another number
    store = Store(tmp_path / "store")
    shutil.copytree(curated.store.root, store.root)
    bigger = curate(store, grown)
    for stage in ("extract", "measure", "filter", "signatures"):
        old = {part.key for part in curated[stage].manifest.parts}
        new = {part.key for part in bigger[stage].manifest.parts}
        assert old < new and len(new - old) == 1
    copies = bigger["filter"].part(0).counts.out.n
    assert copies > 0
    before = curated["dedup"].manifest.counts.dropped["record"]
    assert bigger["dedup"].manifest.counts.dropped["record"] == before + copies
    assert bigger["mix"].manifest.counts.out.n == curated["mix"].manifest.counts.out.n
