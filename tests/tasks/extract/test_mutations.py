"""Broken files, by the thousand: nothing is raised, nothing untouched changes, nothing is lost without a reason."""

from functools import cache
from typing import Any

import pytest

from tasks.extract.params import ExtractParams
from tasks.extract.records import MIN_RECORD_BYTES, Record, part_borders, read_records
from tasks.extract.stage import PartResult, extract_part_records
from tests.miniature import gzip_member
from tests.tasks.extract.mutations import (
    FORMATS,
    DamagedFile,
    damaged_file,
    opening_of,
    record_of,
    small_pages,
)

PARAMS = ExtractParams()
PLACE = ("warc_offset", "warc_length")


def extracted(data: bytes, kind: str) -> PartResult:
    return extract_part_records(data, 0, len(data), PARAMS, kind)


def rows_of(result: PartResult) -> list[dict[str, Any]]:
    return result.documents.to_pylist() + result.skipped.to_pylist()


@cache
def sound_rows(kind: str, n_pages: int) -> dict[str, dict[str, Any]]:
    """What each page gives in a file without damage, by URL."""
    pack = gzip_member if kind.endswith(".gz") else bytes
    data = b"".join(map(pack, [opening_of(kind), *(record_of(page, kind) for page in small_pages(n_pages))]))
    documents = extracted(data, kind).documents
    assert documents.num_rows == n_pages
    return {row["url"]: row for row in documents.drop_columns(PLACE).to_pylist()}


def uncovered(records: list[Record], size: int) -> list[tuple[int, int]]:
    """Stretches of the file that no record accounts for."""
    holes, reached = [], 0
    for record in records:
        if record.offset > reached:
            holes.append((reached, record.offset))
        reached = max(reached, record.offset + record.length)
    return [*holes, (reached, size)] if reached < size else holes


def check(damaged: DamagedFile, kind: str, n_pages: int) -> PartResult:
    data = damaged.data
    result = extracted(data, kind)
    rows = rows_of(result)

    expected = sound_rows(kind, n_pages)
    documents = {row["url"]: row for row in result.documents.to_pylist()}
    pack = gzip_member if kind.endswith(".gz") else bytes
    for page in damaged.untouched:
        found = documents.get(page.url)
        assert found is not None, f"{kind}: {page.url}"
        offset, length = (found.pop(name) for name in PLACE)
        assert found == expected[page.url], f"{kind}: {page.url}"
        assert data[offset : offset + length].rstrip(b"\r\n") == pack(record_of(page, kind)).rstrip(b"\r\n")

    records = list(read_records(data, 0, len(data)))
    for start, end in uncovered(records, len(data)):
        assert end - start < MIN_RECORD_BYTES or not data[start:end].strip(b"\0\r\n\t "), (kind, start, end)
    describing = sum(record.kind in ("warcinfo", "request", "metadata") for record in records)
    assert len(rows) == len(records) - describing == result.responses
    assert result.responses == result.documents.num_rows + sum(result.dropped.values())

    places = [(row["warc_offset"], row["warc_offset"] + row["warc_length"]) for row in rows]
    for page, start, end, name in damaged.spoilt:
        accounted = any(first < end and start < last for first, last in places)
        # What is left of it may be less than a record.
        assert accounted or end - start < MIN_RECORD_BYTES, (kind, name, page.url, start, end)

    for part_bytes in (len(data) // 3 + 1, 2000):
        parts = [r for begin, stop in part_borders(len(data), part_bytes) for r in read_records(data, begin, stop)]
        assert parts == records, (kind, part_bytes)
    return result


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_costs_what_it_hits_and_is_accounted_for(kind: str) -> None:
    damaged = damaged_file(small_pages(70), kind, seed=0)
    assert len(damaged.spoilt) > 35
    result = check(damaged, kind, 70)
    assert result.documents.num_rows > len(damaged.untouched) + 10  # much of what is spoilt can be read
    assert result.skipped.num_rows > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_twenty_thousand_damaged_records(kind: str) -> None:
    pages = small_pages(400)
    n_spoilt, seed = 0, 1
    while n_spoilt < 4_000:
        damaged = damaged_file(pages, kind, seed)
        check(damaged, kind, len(pages))
        n_spoilt += len(damaged.spoilt)
        seed += 1
