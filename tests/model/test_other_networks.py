"""What is compared with, through the whole engine: an LSTM, masked tokens; and switches that change no result."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from model.batching import sample_rows
from model.data import TokenRows, stack_rows
from model.hf import load_hf, load_network
from model.lstm import LSTM
from model.masked import MaskTokens, stack_masked
from model.transformer import Transformer
from tests.model.training_jobs import END, PAD, VOCABULARY, job, losses, rows, run_plan, write_data

OTHER_LAYOUT = 1e-4  # float32 sums in another order, over a dozen steps
LSTM_SHAPE = {"architecture": "lstm", "vocab_size": VOCABULARY, "hidden_size": 32, "n_layers": 2, "max_seq_len": 32}
RECURRENT = {"shape": LSTM_SHAPE, "optim__lr": 2e-2, "steps": 30}
MASKED = {"objective": "mlm", "shape__causal": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every job of this module has run."""
    folder = tmp_path_factory.mktemp("others")
    write_data(folder)
    moved = job(folder, "moved_masked", **MASKED)
    run_plan(
        folder,
        2,
        [
            {"job": str(job(folder, "lstm2", **RECURRENT))},
            {"job": str(job(folder, "lstm_stage3", **RECURRENT, work__zero_stage=3))},
            {"job": str(job(folder, "masked2", **MASKED))},
            {"job": str(moved), "fail_at": 8},
            {"job": str(job(folder, "frugal_stage3", work__activation_checkpointing=True, work__zero_stage=3))},
        ],
    )
    run_plan(
        folder,
        1,
        [
            {"job": str(job(folder, "plain"))},
            {"job": str(job(folder, "frugal", work__activation_checkpointing=True))},
            {"job": str(job(folder, "z_loss", optim__z_loss=0.5))},
            {"job": str(job(folder, "lstm", **RECURRENT))},
            {"job": str(job(folder, "masked", **MASKED))},
            {"job": str(moved)},
            {"job": str(job(folder, "lstm_bf16", **RECURRENT, dtype="bfloat16"))},  # last: autocast stays
        ],
    )
    return folder


def test_an_lstm_learns_the_same_at_any_layout(trained: Path):
    found = losses(trained, "lstm")
    assert found[0] == pytest.approx(math.log(VOCABULARY), abs=0.1)
    assert found[-1] < found[0] - 0.2  # it learns, so that agreement means something
    for layout in ("lstm2", "lstm_stage3"):
        assert losses(trained, layout) == pytest.approx(found, abs=OTHER_LAYOUT)
    assert losses(trained, "lstm_bf16") == pytest.approx(found, abs=0.05)


def test_an_exported_lstm_has_the_loss_that_it_was_validated_with(trained: Path):
    network = load_network(trained / "lstm" / "export")
    assert isinstance(network, LSTM)
    data = TokenRows([trained / "validation"], 32)
    tokens, labels, documents = stack_rows(data, range(len(data)))
    with torch.no_grad():
        nll = network(tokens, document_ids=documents, labels=labels, reduction="none")
    last = rows(trained, "lstm")[-1]
    assert last["val_loss"] == pytest.approx(float(nll.mean()), rel=1e-5)
    assert last["val_bits_per_byte"] > 0
    with pytest.raises(ValueError, match="is an LSTM"):
        load_hf(trained / "lstm" / "export")


def test_masked_tokens_are_learnt_the_same_at_any_layout(trained: Path):
    found = losses(trained, "masked")
    assert found[-1] < found[0] - 0.2  # it learns, so that agreement means something
    assert losses(trained, "masked2") == pytest.approx(found, abs=OTHER_LAYOUT)
    assert losses(trained, "moved_masked") == pytest.approx(found, abs=OTHER_LAYOUT)


def test_masked_loss_is_nats_a_masked_token(trained: Path):
    """The first step's loss, and the validation's, again from the data."""
    vocabulary = MaskTokens(VOCABULARY, mask=PAD, special=frozenset([END]))
    start = Transformer(load_network(trained / "masked" / "export").config, seed=0)
    data = TokenRows([trained / "train"], 32)
    batch = sample_rows(0, 8, len(data), 0).tolist()
    tokens, labels, documents = stack_masked(data, batch, 1, 0, vocabulary)
    with torch.no_grad():
        loss, count = start(tokens, document_ids=documents, labels=labels)
    assert losses(trained, "masked")[0] == pytest.approx(float(loss / count), abs=1e-5)
    held_out = TokenRows([trained / "validation"], 32)
    tokens, labels, documents = stack_masked(held_out, range(len(held_out)), 0, 0, vocabulary)
    with torch.no_grad():
        loss, count = load_network(trained / "masked" / "export")(tokens, document_ids=documents, labels=labels)
    last = rows(trained, "masked")[-1]
    assert last["val_loss"] == pytest.approx(float(loss / count), rel=1e-5)
    assert "val_bits_per_byte" not in last
    with pytest.raises(ValueError, match="predicts no next token"):
        load_hf(trained / "masked" / "export")


def test_activation_checkpointing_changes_no_bit(trained: Path):
    assert rows(trained, "frugal") == rows(trained, "plain")
    weights = [(trained / name / "export" / "model.safetensors").read_bytes() for name in ("frugal", "plain")]
    assert weights[0] == weights[1]
    assert losses(trained, "frugal_stage3") == pytest.approx(losses(trained, "plain"), abs=OTHER_LAYOUT)


def test_z_loss_is_reported_beside_the_loss(trained: Path):
    found, plain = rows(trained, "z_loss"), rows(trained, "plain")
    assert found[0]["loss"] == pytest.approx(plain[0]["loss"], abs=1e-6)  # the same network, before it has learnt
    assert found[0]["z_loss"] == pytest.approx(0.5 * math.log(VOCABULARY) ** 2, rel=0.05)
    assert found[-1]["z_loss"] < found[0]["z_loss"]
    assert found[-1]["loss"] != plain[-1]["loss"]
    assert not any("z_loss" in name for name in plain[-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "mlm"}, "causal: false"),
        ({"shape__causal": False}, "causal: false"),
        ({"objective": "mlm", "shape": LSTM_SHAPE}, "causal: false"),
        ({"objective": "dpo", "shape": None, "init_from": "x", "dpo": {}, "optim__z_loss": 0.1}, "z_loss belongs"),
        ({"work__compile": True, "work__zero_stage": 3}, "compile works at"),
        ({"shape": {**LSTM_SHAPE, "n_heads": 2}}, "n_heads"),
    ],
)
def test_jobs_that_cannot_work_are_refused_when_written(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        job(tmp_path, "x", **changes)


def test_masks_do_not_repeat_from_step_to_step(trained: Path):
    data = TokenRows([trained / "train"], 32)
    vocabulary = MaskTokens(VOCABULARY, mask=PAD, special=frozenset([END]))
    places = [np.asarray(stack_masked(data, [3], step, 0, vocabulary)[1]) >= 0 for step in range(1, 60)]
    assert len({place.tobytes() for place in places}) > 50
