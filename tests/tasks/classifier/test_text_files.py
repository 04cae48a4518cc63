import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from infra.errors import BadInput
from infra.store import Store
from tasks.classifier.text_files import TextRow, open_texts, read_rows

RECORDS = [{"text": "one", "url": "http://a/"}, {"text": "two\nlines", "label": "spam"}]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_jsonl_is_read_whatever_its_compression_and_name(tmp_path: Path, pack) -> None:
    path = tmp_path / "texts"
    path.write_bytes(pack(LINES) + (pack(LINES) if pack is not bytes else b""))  # two members in one file
    rows = list(read_rows(path, "text"))
    assert rows[:2] == [TextRow(0, "one", "http://a/", None), TextRow(1, "two\nlines", None, None)]
    assert len(rows) == (2 if pack is bytes else 4)


def test_parquet_is_read_with_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"body": ["one", None, "two"], "kind": ["a", "b", None]}), path)
    assert list(read_rows(path, "body", "kind")) == [TextRow(0, "one", None, "a"), "no_text", "no_label"]
    with pytest.raises(BadInput, match="no column 'text'; there are: body, kind"):
        list(read_rows(path, "text"))


def test_bad_lines_are_reasons_and_stop_nothing(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "one"}\nnot json\n[1]\n\n{"text": 5}\n\xff\xfe\n{"text": "last"}\n')
    rows = list(read_rows(path, "text"))
    assert rows[1:-1] == ["not_json", "not_json", "no_text", "not_json"]
    assert rows[-1] == TextRow(5, "last", None, None)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, pack) -> None:
    path = tmp_path / "texts.jsonl.gz"
    path.write_bytes(pack(LINES * 500)[:-20])
    with pytest.raises(BadInput, match="cannot be read to its end"):
        list(read_rows(path, "text"))


def test_folders_give_the_files_that_look_like_texts(tmp_path: Path, store: Store) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jsonl").write_bytes(LINES)
    (tmp_path / "in" / "notes.md").write_text("no")
    (tmp_path / "odd.name").write_bytes(LINES)
    source = open_texts([tmp_path / "in", tmp_path / "odd.name"], store.digest_cache())
    assert [file.name for file in source.files] == ["b.jsonl", "odd.name"]
    with pytest.raises(BadInput, match="nowhere: no such file"):
        open_texts([tmp_path / "nowhere"], store.digest_cache())
