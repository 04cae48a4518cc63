"""Training end to end in tiny: what a plain loop gives, at any layout; interrupted, killed, moved, still the same."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from pydantic import ValidationError

from model.batching import sample_rows
from model.data import TokenRows, stack_rows
from model.hf import load_hf
from model.job import Job
from model.optim import build_optimizer
from model.schedule import learning_rate_scale
from model.transformer import Transformer
from tests.model.training_jobs import HANGS_AFTER, PAD, ROOT, environment, job, losses, rows, run_plan, write_data

SAME_LAYOUT = 0.0  # bit-equal
OTHER_LAYOUT = 1e-5  # float32 sums in another order, over a dozen steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every job of this module has run; few processes, since starting one costs seconds."""
    folder = tmp_path_factory.mktemp("training")
    write_data(folder)
    whole = job(folder, "whole")
    moved = job(folder, "moved")
    chosen = job(folder, "chosen", work__zero_stage=None)
    killed = {"steps": 150, "work__checkpoint_every": 10, "validate_every": None}
    broken2 = job(folder, "broken2")
    run_plan(
        folder,
        2,
        [
            {"job": str(job(folder, "two"))},
            *({"job": str(job(folder, f"stage{n}", work__zero_stage=n))} for n in (0, 2, 3)),
            {"job": str(job(folder, "uneven2", batch_size=5))},
            {"job": str(broken2), "fail_at": 8},
            {"job": str(broken2)},
            {"job": str(moved), "fail_at": 8},
            {"job": str(chosen), "fail_at": 8},
            {"job": str(job(folder, "undisturbed", **killed))},
            {"job": str(job(folder, "muon2", optim__name="muon"))},
        ],
    )
    post = {"shape": None, "init_from": str(folder / "whole" / "export"), "data__validation": []}
    post |= {"work__zero_stage": None}
    broken = job(folder, "broken")
    dpo = job(
        folder,
        "dpo",
        objective="dpo",
        dpo={},
        data__train=[str(folder / "pairs")],
        optim__lr=1e-3,
        **post | {"data__validation": [str(folder / "pairs")]},
    )
    run_plan(
        folder,
        1,
        [
            {"job": str(whole)},
            {"job": str(job(folder, "micro", work__micro_batch_size=3))},
            {"job": str(job(folder, "uneven1", batch_size=5))},
            {"job": str(broken), "fail_at": 8},
            {"job": str(broken)},
            {"job": str(moved)},
            {"job": str(chosen)},
            {"job": str(job(folder, "chosen1", work__zero_stage=None))},
            {"job": str(job(folder, "muon1", optim__name="muon"))},
            {"job": str(job(folder, "sft", objective="sft", data__train=[str(folder / "chat")], **post))},
            {"job": str(dpo), "fail_at": 7},
            {"job": str(dpo)},
            {"job": str(job(folder, "bf16", dtype="bfloat16"))},  # last: DeepSpeed remembers autocast a process long
        ],
    )
    job(folder, "SIGKILL", **killed)
    job(folder, "SIGTERM", **killed)
    return folder


def test_losses_are_those_of_a_plain_loop(trained: Path):
    """The same rows, optimizer and schedule without DeepSpeed, ranks or micro-batches."""
    config = Job.model_validate_json((trained / "whole.json").read_text())
    assert config.shape is not None
    network = Transformer(config.shape, seed=config.seed)
    optimizer = build_optimizer(network, config.optim)
    peaks = [group["lr"] for group in optimizer.param_groups]
    data = TokenRows([trained / "train"], 32)
    expected = []
    for step in range(config.steps):
        tokens, labels, documents = stack_rows(data, sample_rows(8 * step, 8, len(data), 0).tolist())
        loss, count = network(tokens, document_ids=documents, labels=labels)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.grad_clip)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * learning_rate_scale(config.optim, step, config.steps)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(float(loss.detach() / count))
    assert expected[-1] < expected[0] - 0.5  # it learns, so that agreement means something
    assert losses(trained, "whole") == pytest.approx(expected, abs=OTHER_LAYOUT)


@pytest.mark.parametrize("layout", ["micro", "two", "chosen", "chosen1", "stage0", "stage2", "stage3"])
def test_layout_does_not_change_what_is_learnt(trained: Path, layout: str):
    """Micro-batches with filled-up rows, two ranks, every ZeRO stage."""
    assert losses(trained, layout) == pytest.approx(losses(trained, "whole"), abs=OTHER_LAYOUT)
    norms = [[row["grad_norm"] for row in rows(trained, name)] for name in (layout, "whole")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    held_out = [rows(trained, name)[-1]["val_loss"] for name in (layout, "whole")]
    assert held_out[0] == pytest.approx(held_out[1], abs=OTHER_LAYOUT)


def test_a_batch_that_ranks_cannot_share_evenly(trained: Path):
    assert losses(trained, "uneven2") == pytest.approx(losses(trained, "uneven1"), abs=OTHER_LAYOUT)


def test_muon_learns_the_same_on_two_ranks(trained: Path):
    assert losses(trained, "muon2") == pytest.approx(losses(trained, "muon1"), abs=1e-3)
    assert losses(trained, "muon1")[-1] < losses(trained, "muon1")[0] - 0.5


@pytest.mark.parametrize(("resumed", "whole"), [("broken", "whole"), ("broken2", "two")])
def test_an_interrupted_run_resumes_bit_equal(trained: Path, resumed: str, whole: str):
    """Failed in step 8 after the checkpoint of step 5: the metrics read as if nothing had happened."""
    assert rows(trained, resumed) == rows(trained, whole)
    weights = [(trained / name / "export" / "model.safetensors").read_bytes() for name in (resumed, whole)]
    assert weights[0] == weights[1]


def test_a_run_goes_on_at_another_world_size(trained: Path):
    """Begun on two ranks, finished on one: the optimizer's shards are put together by a universal checkpoint."""
    found = losses(trained, "moved")
    assert found[:5] == losses(trained, "two")[:5]
    assert found == pytest.approx(losses(trained, "two"), abs=OTHER_LAYOUT)


def test_a_stage_that_nobody_chose_is_by_the_ranks_and_stays_the_runs_own(trained: Path):
    """`chosen` began on two ranks and ended on one, `chosen1` was on one from its beginning."""
    assert zero_stage(trained / "two") == zero_stage(trained / "chosen") == 1
    assert zero_stage(trained / "chosen1") == 0


def zero_stage(run: Path) -> int:
    """Of a run that has ended, by its last checkpoint."""
    return int(json.loads((run / "checkpoints" / newest(run) / "state.json").read_text())["zero_stage"])


def test_bits_per_byte_count_text_only(trained: Path):
    """Nats of the tokens that are text, over ln 2 and their bytes: recomputed from the exported model."""
    network = load_hf(trained / "whole" / "export")
    data = TokenRows([trained / "validation"], 32)
    tokens, labels, documents = stack_rows(data, range(len(data)))
    with torch.no_grad():
        nll = network(tokens, document_ids=documents, labels=labels, reduction="none")
    is_text = labels < 62
    expected = float(nll[is_text].sum()) / (math.log(2) * 3 * int(is_text.sum()))
    last = rows(trained, "whole")[-1]
    assert last["val_bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert last["val_loss"] == pytest.approx(float(nll.mean()), rel=1e-5)
    assert [row["step"] for row in rows(trained, "whole") if "val_loss" in row] == [6, 12]


def test_rows_say_what_was_seen(trained: Path):
    last = rows(trained, "two")[-1]
    assert last["tokens"] == 12 * 8 * 32
    assert last["epoch"] == pytest.approx(96 / len(TokenRows([trained / "train"], 32)))


def test_only_the_newest_checkpoints_stay(trained: Path):
    folder = trained / "whole" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["latest", "step-00000010", "step-00000012"]
    assert (folder / "latest").read_text().strip() == "step-00000012"


def test_bfloat16_learns_much_the_same(trained: Path):
    assert losses(trained, "bf16") == pytest.approx(losses(trained, "whole"), abs=0.05)
    assert losses(trained, "bf16") != losses(trained, "whole")


def test_sft_counts_the_answers_only(trained: Path):
    """First loss: the mean over trained tokens of the first batch, under the model that it started from."""
    from model.data import ChatRows

    network = load_hf(trained / "whole" / "export")
    data = ChatRows(trained / "chat", 32, PAD)
    tokens, labels, documents = stack_rows(data, sample_rows(0, 8, len(data), 0).tolist())
    with torch.no_grad():
        loss, count = network(tokens, document_ids=documents, labels=labels)
    assert int(count) < int((tokens != PAD).sum())
    found = losses(trained, "sft")
    assert found[0] == pytest.approx(float(loss / count), abs=1e-5)
    assert found[-1] < found[0]


def test_dpo_begins_at_ln_2_and_learns_to_prefer(trained: Path):
    found = rows(trained, "dpo")
    assert found[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert found[0]["rewards/margin"] == pytest.approx(0.0, abs=1e-5)
    assert found[-1]["loss"] < math.log(2) - 0.01
    assert found[-1]["rewards/margin"] > 0
    assert found[-1]["val_rewards/accuracy"] > 0.9


def test_a_resumed_dpo_keeps_its_reference(trained: Path):
    """Interrupted in step 7: had the reference been computed again, from the checkpoint, margins would start at 0."""
    found = rows(trained, "dpo")
    assert [row["step"] for row in found] == list(range(1, 13))
    assert found[5]["rewards/margin"] > found[0]["rewards/margin"]
    table = np.load(trained / "dpo" / "reference-train.npy")
    assert table.shape == (24, 2)
    assert (table < 0).all()


@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_killing_the_starter_leaves_no_orphan_and_costs_no_step(trained: Path, name: str):
    """Whoever started torchrun with two ranks is killed in the middle; the same command then gives the same losses.

    In the middle: after a number of rows that differs from test to test, and wherever in a step the ranks are then.
    """
    after = int(os.environ.get("SLUICE_TEST_KILL_AFTER", random.randrange(12, 100)))
    print(f"SLUICE_TEST_KILL_AFTER={after} kills after the same row again")
    metrics = trained / name / "metrics.jsonl"
    starter = f"""
import sys
from infra.launch import run_child
argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
run_child([*argv, "--nproc-per-node", "2", "-m", "tests.model.noted_train", {str(trained / f"{name}.json")!r}])
"""
    env = environment() | {"SLUICE_WATCH_STDIN": "1"}
    process = subprocess.Popen([sys.executable, "-c", starter], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + HANGS_AFTER
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < after:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3  # torchrun and two ranks
        os.kill(process.pid, signal.Signals[name])
    finally:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert len(losses(trained, name)) < 150
    resumed_after = json.loads((trained / name / "checkpoints" / newest(trained / name) / "state.json").read_text())[
        "step"
    ]
    result = subprocess.run([sys.executable, "-c", starter], cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert losses(trained, name) == losses(trained, "undisturbed")
    assert json.loads((trained / name / "done.json").read_text())["step"] == 150
    assert (
        shown(trained / name, resumed_after)
        == sample_rows(0, 150 * 8, len(TokenRows([trained / "train"], 32)), 0).tolist()
    )


def newest(run: Path) -> str:
    """The name of the run's newest checkpoint."""
    return (run / "checkpoints" / "latest").read_text().strip()


def shown(run: Path, resumed_after: int) -> list[int]:
    """Samples that two ranks have learnt from, in order: those of the first attempt up to a step, then the second's."""
    steps: dict[int, list[list[int]]] = {}
    for path in sorted(run.glob("ids-*.jsonl")):
        notes = [json.loads(line) for line in path.read_text().splitlines()]
        numbers = [step for step, _, _ in notes]
        turn = len(numbers) - numbers[::-1].index(resumed_after + 1) - 1  # where the second attempt begins
        assert numbers[:turn] == list(range(1, turn + 1)) and turn >= resumed_after
        assert numbers[turn:] == list(range(resumed_after + 1, 151))
        for step, _, samples in [*notes[:resumed_after], *notes[turn:]]:
            steps.setdefault(step, []).append(samples)
    assert {len(parts) for parts in steps.values()} == {2}  # each rank once
    return [sample for step in sorted(steps) for together in zip(*steps[step], strict=True) for sample in together]


def test_a_file_that_a_killed_build_left_does_not_stop_the_next(trained: Path):
    """torch would wait for its own lock file for ever."""
    leftover = Path(environment()["TORCH_EXTENSIONS_DIR"]) / "deepspeed_shm_comm" / "lock"
    leftover.touch()
    argv = [sys.executable, "-m", "model.train", "--build-extension"]
    assert subprocess.run(argv, cwd=ROOT, env=environment(), timeout=200).returncode == 0
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "dpo"}, "dpo needs"),
        ({"shape": None}, "either"),
        ({"optim__name": "muon", "work__zero_stage": 3}, "muon works at"),
        ({"objective": "sft", "data__train": ["a", "b"]}, "one training prefix"),
        ({"objective": "sft", "data__validation": ["a", "b"]}, "one validation prefix"),
        ({"special_tokens__pad": 64}, "beyond the vocabulary of 64"),
        ({"data__typo": 1}, "typo"),
    ],
)
def test_jobs_that_cannot_work_are_refused_when_written(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        job(tmp_path, "x", **changes)


def test_a_checkpoints_stage_is_held_to_the_same_rules(tmp_path: Path):
    """Begun at stage 3, and gone on from with a compiled network and no stage of its own."""
    compiled = Job.model_validate_json(job(tmp_path, "x", work__compile=True, work__zero_stage=None).read_text())
    compiled.check_stage(2)
    with pytest.raises(ValueError, match="compile works at ZeRO stages 0 to 2"):
        compiled.check_stage(3)
