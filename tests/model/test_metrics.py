"""The rows that a run leaves."""

import json
import math
from pathlib import Path

import pytest

from model.metrics import MetricsLog, read_rows


def test_numbers_that_are_not_finite_are_null_for_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("deepspeed")
    monkeypatch.setattr("deepspeed.comm.get_rank", lambda: 0)  # a test is no process group
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, None, resume_step=0, csv=tmp_path / "csv")
    log.write({"step": 1, "loss": 2.5, "phase": "main"})
    log.write({"step": 2, "loss": math.nan, "grad_norm": math.inf, "mfu": None})
    log.close()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert found == read_rows(path)
    nothing = {"loss": None, "grad_norm": None, "mfu": None}
    assert found == [{"step": 1, "loss": 2.5, "phase": "main"}, {"step": 2, **nothing}]
    assert (tmp_path / "csv" / "loss.csv").read_text() == "step,loss\n1,2.5\n"
