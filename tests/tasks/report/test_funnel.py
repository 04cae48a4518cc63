"""The funnel's rows, gaps and Markdown."""

from infra.store.manifest import Code, Counts, Manifest, RunInfo, Timing
from tasks.report.funnel import funnel_markdown, funnel_rows, funnel_table, gaps


def _manifest(stage: str, n_in: int, dropped: dict[str, int], n_out: int, parents=None, unit="document") -> Manifest:
    counts = {"in": {"unit": unit, "n": n_in}, "used": n_in - sum(dropped.values()), "dropped": dropped}
    return Manifest(
        stage=stage,
        version="0" * 16,
        key={},
        parents=parents or {},
        params={},
        runtime={},
        code=Code(stage_version=1, source_digest="0", git_sha=None, git_dirty=None),
        environment={},
        files=[],
        counts=Counts.model_validate({**counts, "out": {"unit": "document", "n": n_out}}),
        timing=Timing(started="", ended="", seconds=0, cpu_seconds=0),
        run=RunInfo(id="", name=""),
    )


def test_rows_name_the_largest_reason_first_and_leave_out_empty_ones():
    (row,) = funnel_rows([_manifest("filter", 10, {"a": 1, "b": 3, "c": 0}, 6)])
    assert row.dropped == (("b", 3), ("a", 1))
    assert (row.n_in, row.used, row.n_dropped, row.n_out, row.adds_up) == (10, 6, 4, 6, True)


def test_a_leak_between_stages_is_found():
    measure = _manifest("measure", 10, {}, 10)
    good = _manifest("filter", 10, {"a": 4}, 6, {"documents": measure.ref})
    bad = _manifest("filter", 9, {"a": 3}, 6, {"documents": measure.ref})
    assert gaps([measure, good]) == []
    (gap,) = gaps([measure, bad])
    assert gap == f"{bad.ref} took in 9 documents, but {measure.ref} gave out 10"
    assert gaps([measure, _manifest("tokens", 9, {}, 9, {"documents": measure.ref}, unit="byte")]) == []


def test_markdown_has_a_line_a_stage_and_no_cell_can_break_it():
    text = funnel_markdown([_manifest("filter", 1234, {"a|b": 1, "<img src=x>": 2}, 1231)])
    lines = text.splitlines()
    assert lines[0].startswith("| stage")
    assert "1,234 documents" in lines[2] and "a\\|b 1" in lines[2] and "<img" not in text
    assert lines[2].replace("\\|", "").count("|") == lines[0].count("|")


def test_table_rows_are_plain_values():
    (row,) = funnel_table([_manifest("filter", 10, {"a": 4}, 6)])
    assert row == {
        "stage": "filter",
        "in": 10,
        "used": 6,
        "dropped": 4,
        "reasons": "a 4",
        "out": 6,
        "unit": "document",
        "version": "0" * 16,
    }
