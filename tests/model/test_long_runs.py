"""What long runs need: phases, growing batches, outliers left out, kept weights, ranks that share rows."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.course import course_of
from model.data import TokenRows, stack_rows
from model.hf import load_hf
from model.job import Job
from model.metrics import read_rows
from model.optim import build_optimizer
from model.outliers import Recent, SkipConfig
from model.schedule import learning_rate_scale, phased_learning_rate_scale
from model.transformer import Transformer
from tests.model.training_jobs import job, losses, rows, run_plan, write_data

OTHER_LAYOUT = 1e-5
MUON_LAYOUT = 1e-3  # its matrices are multiplied in bfloat16 where the hardware does
PEAK = 1e12  # FLOP/s of a rank, so that MFU is known
SKIP = {"sigma": 1.0, "window": 6}  # so strict that ordinary noise is left out
# Decay so strong that a group which lost its own shows; tied as the stages' default is.
MOVED: dict[str, Any] = {
    "shape__tie_embeddings": True,
    "optim__weight_decay": 5.0,
    "validate_every": None,
    "work__checkpoint_every": 3,
}
MUON = {"optim__name": "muon", "optim__muon_lr": 3e-3}
MOVES: dict[str, dict[str, Any]] = {f"moved-z{stage}": {"work__zero_stage": stage} for stage in (0, 2, 3)}
MOVES["moved-muon"] = MUON
MOVES["moved-chosen"] = {"work__zero_stage": None}  # begins on one rank: stage 0 to its end
SPOILT = [  # no weight is what it was after a step of 1,000 times the rate
    {"name": "learn", "steps": 6, "rate": {"shape": "constant", "start": 1.0}},
    {"name": "spoil", "steps": 6, "rate": {"shape": "constant", "start": 1000.0}},
]
NOISY = {"skip": SKIP, "batch_size": 2, "steps": 16, "optim__lr": 0.03}
SKIPPING: dict[str, dict[str, Any]] = {  # on one rank, and on two
    "skip": {},
    "skip0": {"work__zero_stage": 0},
    "skip-muon": {"optim__name": "muon", "optim__muon_lr": 0.03},
    "skip3": {"work__zero_stage": 3},
    "skip-muon2": {"optim__name": "muon", "optim__muon_lr": 0.03, "work__zero_stage": 2},
}
# From fewer samples than two ranks to more.
GROWING = {"batch_size": 1, "batch_ramp": [{"tokens": 32 * 4, "batch_size": 5}], "validate_every": None}


def spoilt_later(folder: Path, seq_len: int = 64) -> dict[str, Any]:
    """As `SPOILT`, but at a longer context: every loss there is worse than any before it."""
    longer = {"train": [str(folder / "train")], "seq_len": seq_len}
    return {"export": "best", "validate_every": 2, "phases": [SPOILT[0], SPOILT[1] | {"data": longer}]}


def phases(folder: Path) -> dict[str, Any]:
    """Main, then twice the context with another base, then annealing on other data; batches grow meanwhile."""
    longer = {"train": [str(folder / "train")], "seq_len": 64}
    best = {"train": [str(folder / "validation")], "seq_len": 64}
    return {
        "steps": 16,
        "validate_every": None,
        "optim__schedule": "cosine",
        "optim__min_lr_ratio": 0.3,
        "batch_size": 4,
        "batch_ramp": [{"tokens": 4 * 32 * 3, "batch_size": 7}],
        "phases": [
            {"name": "main", "steps": 7},
            {"name": "long", "steps": 4, "data": longer, "rope_theta": 50_000.0, "batch_size": 3},
            {"name": "anneal", "steps": 5, "data": best, "batch_size": 2, "rate": {"end": 0.0}},
        ],
        "work__micro_batch_size": 3,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    write_data(folder)
    moved = str(job(folder, "moved", **phases(folder)))
    broken = str(job(folder, "broken", **phases(folder), skip=SKIP))
    skipping = {name: str(job(folder, name, **NOISY, **changes)) for name, changes in SKIPPING.items()}
    later = str(job(folder, "best-later", **spoilt_later(folder)))
    growing = {f"growing{n}": str(job(folder, f"growing{n}", **GROWING, work__zero_stage=n)) for n in (0, 1, 3)}
    average = {"export": "average", "average": {"checkpoints": 3, "every": 3}}
    averaged = str(job(folder, "averaged", **average, work__tensorboard=True, work__csv=True))
    moves = [str(job(folder, name, **MOVED, **changes)) for name, changes in MOVES.items()]
    run_plan(folder, 1, [{"job": moved, "fail_at": 6}, *({"job": one, "fail_at": 4} for one in moves)])
    run_plan(
        folder,
        2,
        [
            {"job": str(job(folder, "shared", work__sequence_parallel=2, work__peak_flops=PEAK))},
            {"job": str(job(folder, "two", **phases(folder), skip=SKIP))},
            {"job": broken, "fail_at": 7},  # where a phase begins
            {"job": broken, "fail_at": 12},
            {"job": broken},
            {"job": skipping["skip3"], "fail_at": 9},
            {"job": skipping["skip3"]},
            {"job": skipping["skip0"]},
            {"job": skipping["skip-muon2"]},
            *({"job": one} for one in growing.values()),
            {"job": str(job(folder, "averaged3", **average, work__zero_stage=3))},
            {"job": moved, "fail_at": 11},
            *({"job": one, "fail_at": 7} for one in moves),
        ],
    )
    run_plan(
        folder,
        1,
        [
            {"job": str(job(folder, "whole", work__peak_flops=PEAK))},
            {"job": str(job(folder, "long", **phases(folder)))},
            {"job": skipping["skip"]},
            {"job": skipping["skip-muon"]},
            {"job": str(job(folder, "growing", **GROWING))},
            {"job": averaged, "fail_at": 10},
            {"job": averaged},
            {"job": str(job(folder, "best", export="best", validate_every=2, phases=SPOILT))},
            {"job": later, "fail_at": 6},  # where the context changes
            {"job": later, "fail_at": 11},
            {"job": later},
            {"job": str(other_batch(folder, "best-later")), "refused": True},
            {"job": str(job(folder, "best-of-none", **spoilt_later(folder, seq_len=1024))), "refused": True},
            {"job": str(job(folder, "long-first", **long_first(folder)))},
            {"job": moved},
            *({"job": one} for one in moves),
            {"job": str(job(folder, "tied", **MOVED))},
            {"job": str(job(folder, "tied-muon", **MOVED, **MUON))},
        ],
    )
    return folder


def other_batch(folder: Path, name: str) -> Path:
    """A job that finds the checkpoint of another, and has other batches."""
    return job(folder, f"{name}-other", **spoilt_later(folder), batch_size=7, work__folder=str(folder / name))


def long_first(folder: Path) -> dict[str, Any]:
    """Two samples at once in the first phase, whose rows are longer than the job's own, and one in the second."""
    parts = [{"train": [str(folder / "train")], "seq_len": seq_len} for seq_len in (64, 128)]
    phases = [{"name": f"rows of {part['seq_len']}", "steps": 2, "data": part} for part in parts]
    return {"phases": phases, "steps": 4, "batch_size": 4, "work__micro_batch_size": 2, "shape__max_seq_len": 128}


def plain_loop(config: Job, skip: SkipConfig | None = None) -> tuple[list[float], Recent, Transformer]:
    """The same run without DeepSpeed, ranks or micro-batches."""
    assert config.shape is not None
    course = course_of(config)
    network = Transformer(config.shape, seed=config.seed)
    optimizer = build_optimizer(network, config.optim)
    peaks = [group["lr"] for group in optimizer.param_groups]
    found, recent, entered = [], Recent(), 0
    for step in range(config.steps):
        place = course.at(step)
        phase = config.phases[place.phase] if config.phases else None
        if phase is not None and place.phase != entered:
            entered = place.phase
            network.stretch(64, phase.rope_theta)
        data = config.data if phase is None or phase.data is None else phase.data
        source = TokenRows(data.train, data.seq_len)
        tokens, labels, documents = stack_rows(source, course.rows(step, len(source), config.seed).tolist())
        loss, count = network(tokens, document_ids=documents, labels=labels)
        (loss / count).backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.grad_clip)
        scale = phased_learning_rate_scale(config.optim, config.phases, step) if config.phases else None
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (learning_rate_scale(config.optim, step, config.steps) if scale is None else scale)
        mean = float(loss.detach() / count)
        if skip is None or step == 0 or not recent.judge(mean, float(norm), skip):
            optimizer.step()
        optimizer.zero_grad()
        found.append(mean)
    return found, recent, network


def read_job(folder: Path, name: str) -> Job:
    return Job.model_validate_json((folder / f"{name}.json").read_text())


def test_phases_are_those_of_a_plain_loop(trained: Path):
    expected, _, network = plain_loop(read_job(trained, "long"))
    assert losses(trained, "long") == pytest.approx(expected, abs=OTHER_LAYOUT)
    found = rows(trained, "long")
    assert [row["phase"] for row in found] == ["main"] * 7 + ["long"] * 4 + ["anneal"] * 5
    assert [row["batch_size"] for row in found] == [4] * 3 + [7] * 4 + [3] * 4 + [2] * 5
    assert [row["lr"] for row in found[-5:]] == pytest.approx([3e-3 * (1 - step / 5) for step in range(5)])
    exported = load_hf(trained / "long" / "export")
    assert (exported.config.max_seq_len, exported.config.rope_theta) == (64, 50_000.0)
    for name, parameter in exported.named_parameters():
        assert torch.allclose(parameter, dict(network.named_parameters())[name], atol=1e-4)


def test_phases_on_one_rank_then_two_then_one(trained: Path):
    assert losses(trained, "moved") == pytest.approx(losses(trained, "long"), abs=OTHER_LAYOUT)


@pytest.mark.parametrize("name", MOVES)
def test_a_run_is_the_same_on_one_rank_then_two_then_one(trained: Path, name: str):
    """At every ZeRO stage (1: above), for groups with and without decay, and for Muon."""
    expected = losses(trained, "tied-muon" if name == "moved-muon" else "tied")
    assert expected[-1] < expected[0] - 0.1
    assert losses(trained, name) == pytest.approx(expected, abs=OTHER_LAYOUT)


def test_no_sample_is_missed_or_shown_twice_on_the_way(trained: Path):
    """Of each step the ranks' last attempt: together exactly the rows that the course names."""
    course = course_of(read_job(trained, "moved"))
    notes: dict[int, dict[int, list[int]]] = {}
    for path in sorted((trained / "moved").glob("ids-*.jsonl")):
        for step, _, samples in map(json.loads, path.read_text().splitlines()):
            notes.setdefault(step - 1, {}).setdefault(int(path.stem[-1]), []).extend(samples)
    sizes = {0: len(TokenRows([trained / "train"], 32)), 1: len(TokenRows([trained / "train"], 64))}
    sizes[2] = len(TokenRows([trained / "validation"], 64))
    # Steps 0-5 were done by one rank (5 again by two, from the checkpoint of step 5), 5-10 by two, 10-15 by one.
    done_by = {step: [0] if step < 5 or step > 10 else [0, 1] for step in range(16)}
    for step, ranks in done_by.items():
        want = course.rows(step, sizes[course.at(step).stream], 0).tolist()
        if step in (5, 10):  # by two layouts: each did all of it
            assert sorted(itertools.chain(*notes[step].values())) == sorted(want * 2)
        else:
            assert sorted(itertools.chain(*(notes[step][rank] for rank in ranks))) == sorted(want)
            assert set(notes[step]) == set(ranks)


def test_phases_interrupted_anywhere_are_bit_equal(trained: Path):
    """Also where a phase begins: the window of losses is begun again there."""
    assert rows(trained, "broken") == rows(trained, "two")
    weights = [(trained / name / "export" / "model.safetensors").read_bytes() for name in ("broken", "two")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", SKIPPING)
def test_outliers_are_left_out_as_in_a_plain_loop(trained: Path, name: str):
    """On one rank at ZeRO-1, on two at 0, 2 and 3 (there with an interruption), by AdamW and by Muon."""
    expected, recent, _ = plain_loop(read_job(trained, name), SkipConfig(**SKIP))
    assert 0 < recent.skipped < 8
    assert losses(trained, name) == pytest.approx(expected, abs=MUON_LAYOUT if "muon" in name else OTHER_LAYOUT)
    assert rows(trained, name)[-1]["skipped_steps"] == recent.skipped
    assert "skipped_steps" not in rows(trained, "whole")[-1]


def test_ranks_that_share_rows_learn_the_same(trained: Path):
    """Ulysses on two ranks, each with half of the positions of every row, against one rank."""
    assert losses(trained, "shared") == pytest.approx(losses(trained, "whole"), abs=OTHER_LAYOUT)
    for key in ("grad_norm", "tokens"):
        found = [[row[key] for row in rows(trained, name)] for name in ("shared", "whole")]
        assert found[0] == pytest.approx(found[1], rel=1e-4)
    last = [rows(trained, name)[-1] for name in ("shared", "whole")]
    assert last[0]["val_bits_per_byte"] == pytest.approx(last[1]["val_bits_per_byte"], abs=OTHER_LAYOUT)


@pytest.mark.parametrize("name", ["averaged", "averaged3"])
def test_a_mean_of_steps_is_exported(trained: Path, name: str):
    """Steps 6, 9 and 12, of a run that was interrupted after 10; and gathered at ZeRO-3."""
    kept = [load_file(trained / name / "snapshots" / f"step-{step:08d}.safetensors") for step in (6, 9, 12)]
    exported = load_file(trained / name / "export" / "model.safetensors")
    last = load_file(trained / "whole" / "export" / "model.safetensors")
    for key, tensor in exported.items():
        assert torch.allclose(tensor, sum(one[key] for one in kept) / 3, atol=1e-6)
        assert torch.allclose(kept[2][key], last[key], atol=1e-4)
    said = json.loads((trained / name / "exported.json").read_text())
    assert said["steps"] == [6, 9, 12]
    network = load_hf(trained / name / "export")
    tokens, labels, documents = stack_rows(held_out := TokenRows([trained / "validation"], 32), range(len(held_out)))
    with torch.no_grad():
        loss, count = network(tokens, document_ids=documents, labels=labels)
    assert said["val_loss"] == pytest.approx(float(loss / count), rel=1e-5)
    assert said["val_loss"] != rows(trained, name)[-1]["val_loss"]


def test_the_best_weights_are_exported(trained: Path):
    """What is learnt first is spoilt then, so that the best step is not the last."""
    found = {row["step"]: row["val_loss"] for row in rows(trained, "best") if "val_loss" in row}
    best = min(found, key=lambda step: found[step])
    said = json.loads((trained / "best" / "exported.json").read_text())
    assert said["steps"] == [best] and said["val_loss"] == pytest.approx(found[best], rel=1e-5)
    assert best <= 6 < max(found)
    assert len(list((trained / "best" / "snapshots").iterdir())) == 1


def test_the_best_weights_are_of_the_context_that_is_exported(trained: Path):
    """Losses at other lengths do not compete, and an interruption where the length changes alters nothing."""
    found = {row["step"]: row["val_loss"] for row in rows(trained, "best-later") if "val_loss" in row}
    at_first = {row["step"]: row["val_loss"] for row in rows(trained, "best") if "val_loss" in row}
    assert [found[step] for step in (2, 4, 6)] == [at_first[step] for step in (2, 4, 6)]
    later = {step: loss for step, loss in found.items() if step > 6}
    best = min(later, key=lambda step: later[step])
    assert found[6] < later[best]
    said = json.loads((trained / "best-later" / "exported.json").read_text())
    assert said["steps"] == [best] and said["val_loss"] == pytest.approx(later[best], rel=1e-5)
    network = load_hf(trained / "best-later" / "export")
    tokens, labels, documents = stack_rows(held_out := TokenRows([trained / "validation"], 64), range(len(held_out)))
    with torch.no_grad():
        loss, count = network(tokens, document_ids=documents, labels=labels)
    assert said["val_loss"] == pytest.approx(float(loss / count), rel=1e-5)


def test_a_checkpoint_of_other_batches_is_refused(trained: Path):
    said = (trained / "best-later" / "refused.txt").read_text()
    assert "step 12 has learnt from 96 samples, where this job would have from 84" in said


def test_the_best_of_a_context_that_nothing_held_out_fills_is_refused(trained: Path):
    said = (trained / "best-of-none" / "refused.txt").read_text()
    assert said == "export: best needs held-out data that fills a row of the last phase"


def test_samples_at_once_are_those_of_the_first_phase(trained: Path):
    notes = map(json.loads, (trained / "long-first" / "ids-0.jsonl").read_text().splitlines())
    assert [(step, len(samples)) for step, _, samples in notes] == [
        *((step, 2) for step in (1, 2) for _ in range(2)),
        *((step, 1) for step in (3, 4) for _ in range(4)),
    ]


@pytest.mark.parametrize("name", ["growing0", "growing1", "growing3"])
def test_more_ranks_than_samples_learn_the_same(trained: Path, name: str):
    """While the batch is smaller than the ranks, the others have a row without labels."""
    assert losses(trained, name) == pytest.approx(losses(trained, "growing"), abs=OTHER_LAYOUT)
    assert [row["tokens"] for row in rows(trained, name)] == [row["tokens"] for row in rows(trained, "growing")]


def test_rows_say_how_well_the_machine_is_used(trained: Path):
    """MFU by hand: 6 FLOPs a parameter in matrices and 12 for each layer's width and position, forward and backward."""
    flops = 6 * (2 * (2 * 32 * (4 + 2) * 8 + 3 * 32 * 64) + 64 * 32) + 12 * 2 * 32 * 32
    for name, ranks in (("whole", 1), ("shared", 2)):
        for row in read_rows(trained / name / "metrics.jsonl"):
            assert row["mfu"] == pytest.approx(flops * row["tokens_per_s"] / (ranks * PEAK), rel=1e-9)
    for row in read_rows(trained / "long" / "metrics.jsonl"):
        assert row["mfu"] > 0  # of a measured peak
        assert 0 <= row["data_wait_s"] < row["seconds"]
        assert row["peak_memory_bytes"] > 1 << 26


def test_csv_and_events_read_as_if_the_run_had_not_been_interrupted(trained: Path):
    expected = read_rows(trained / "averaged" / "metrics.jsonl")
    lines = (trained / "averaged" / "csv" / "loss.csv").read_text().splitlines()
    assert lines[0] == "step,loss"
    assert [[int(step), float(value)] for step, value in (line.split(",") for line in lines[1:])] == [
        [row["step"], row["loss"]] for row in expected
    ]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "averaged" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 13))
    assert math.isclose(events.Scalars("mfu")[-1].value, expected[-1]["mfu"], rel_tol=1e-5)


@pytest.mark.slow
def test_layouts_stay_together_for_two_hundred_steps(tmp_path: Path):
    write_data(tmp_path)
    plan = {"steps": 200, "validate_every": None, "work__checkpoint_every": 100, "optim__lr": 3e-3}
    run_plan(tmp_path, 2, [{"job": str(job(tmp_path, f"z{n}", **plan, work__zero_stage=n))} for n in range(4)])
    run_plan(tmp_path, 1, [{"job": str(job(tmp_path, "one", **plan, work__micro_batch_size=3))}])
    expected = np.array(losses(tmp_path, "one"))
    for stage in range(4):
        apart = np.abs(np.array(losses(tmp_path, f"z{stage}")) - expected)
        assert apart[:20].max() <= 1e-5
        assert apart.max() <= 1e-3
