"""A run on a mixture of domains: moved between layouts and interrupted, every step has just the rows it should have."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.course import course_of
from model.data import MixedRows
from model.indexed import IndexedWriter
from model.job import Job
from tests.model.training_jobs import END, job, losses, rows, run_plan, write_data

OTHER_LAYOUT = 1e-5


def mixed(folder: Path, name: str, **changes: Any) -> Path:
    shares = [{"name": "a", "files": 1, "weight": 3}, {"name": "b", "files": 1, "weight": 1}]
    files = [str(folder / "train"), str(folder / "other")]
    return job(folder, name, data__train=files, data__mixture=shares, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    write_data(folder)
    with IndexedWriter(folder / "other", "uint16") as writer:
        for start in range(30):
            writer.add_document([*((start + 7 * np.arange(20)) % 60), END])
    moved = str(mixed(folder, "moved"))
    run_plan(folder, 2, [{"job": moved, "fail_at": 7}])
    run_plan(folder, 1, [{"job": moved}, {"job": str(mixed(folder, "whole"))}])
    return folder


def test_two_ranks_then_one_learn_what_one_learns(trained: Path):
    assert losses(trained, "moved") == pytest.approx(losses(trained, "whole"), abs=OTHER_LAYOUT)


def test_every_step_has_its_rows_once_and_its_share_of_domains(trained: Path):
    config = Job.model_validate_json((trained / "moved.json").read_text())
    source = MixedRows(config.data.train, config.data.mixture, config.data.seq_len)
    course = course_of(config)
    notes: dict[int, list[int]] = {}
    for path in sorted((trained / "moved").glob("ids-*.jsonl")):
        for step, _, samples in map(json.loads, path.read_text().splitlines()):
            notes.setdefault(step - 1, []).extend(samples)
    for step in range(config.steps):
        want = course.rows(step, source.mixture, config.seed).tolist()
        again = 2 if step in (5, 6) else 1  # done before the interruption, and again from the checkpoint of step 5
        assert sorted(notes[step]) == sorted(want * again)
        assert sum(row < len(source.domains[0]) for row in want) == 6  # three quarters of eight
    shown = list(itertools.chain(*(course.rows(step, source.mixture, config.seed).tolist() for step in range(12))))
    first_epoch = [row for row in shown if row >= len(source.domains[0])][: len(source.domains[1])]
    assert len(set(first_epoch)) == len(first_epoch)
    assert rows(trained, "moved")[-1]["epoch"] == pytest.approx(96 / len(source))
