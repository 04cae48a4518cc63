"""What a run says of its parts while they are made."""

import json

from infra.stage import progress
from infra.stage.part import marker_path, write_marker
from infra.stage.progress import Pace, PartProgress, ProgressFile, read_progress
from infra.stage.watch import _pace
from infra.store.manifest import Counts, PartEntry


def test_a_part_tells_how_far_it_is_and_says_no_more_than_once_a_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    word = ProgressFile(tmp_path / "00003.77")
    word.tell(0.1, 5)
    assert read_progress(tmp_path) == []
    now[0] = 1.5
    word.tell(0.25, 20)
    now[0] = 1.9
    word.tell(0.30, 24)
    assert read_progress(tmp_path) == [PartProgress(0.25, 20)]


def test_half_written_and_vanished_progress_is_passed_over(tmp_path):
    (tmp_path / "00000.1").mkdir()
    (tmp_path / "00000.1" / "progress.json").write_text('{"fraction": 0.')
    (tmp_path / "00001.1").mkdir()
    (tmp_path / "00001.1" / "progress.json").write_text(json.dumps({"fraction": 0.5, "records": 3}))
    assert read_progress(tmp_path) == [PartProgress(0.5, 3)]


def test_the_line_gives_rate_and_the_time_that_is_left():
    pace = Pace(
        unit="responses",
        parts_before=2,
        parts_todo=5,
        parts_done=2,
        records_done=800,
        running=(PartProgress(0.5, 200),),
        seconds=20,
    )
    # 1000 records in 20 s; 2.5 parts made in 20 s, 2.5 left
    assert pace.line() == "4 of 7 parts, 1,000 responses, 50 responses/s, about 20 s left"


def test_nothing_is_promised_before_anything_was_done():
    assert Pace("responses", 1, 3, 0, 0, (), 2.0).line() == "1 of 4 parts"


def test_only_parts_made_in_this_run_count_for_the_rate(tmp_path):
    for index in (0, 1):
        counts = Counts.of("pages", 10, out=10)
        write_marker(tmp_path, PartEntry(index=index, key="k", label="", files=[], counts=counts, metrics={}), [])
    assert marker_path(tmp_path, 1).exists()
    pace = _pace(tmp_path, todo=[1, 2], total=3, counted={}, seconds=5)
    assert (pace.parts_before, pace.parts_done, pace.records, pace.unit) == (1, 1, 10, "pages")
