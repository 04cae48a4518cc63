"""torch.compile of the blocks: the same loss and gradients as without. Slow: a C++ compiler runs."""

from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.losses import next_token_labels
from model.rope_scaling import YarnScaling
from model.transformer import Transformer
from tests.model.training_jobs import job, losses, run_plan, write_data

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("checkpointed", [False, True])
def test_compiled_blocks_give_the_same_loss_and_gradients(checkpointed):
    config = ModelConfig(
        vocab_size=97,
        hidden_size=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        intermediate_size=64,
        max_seq_len=32,
        qk_norm=True,
        rope_scaling=YarnScaling(factor=2, original_max_seq_len=16),
        init_std=0.15,
    )
    tokens = torch.randint(97, (2, 32), generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0] * 32, [0] * 10 + [1] * 22])
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = []
    for compiled in (False, True):
        model = Transformer(config, seed=0)
        names = sorted(model.state_dict())
        if compiled:
            model.compile_blocks()
            model.checkpoint_activations = checkpointed
        total, count = model(tokens, document_ids=ids, labels=next_token_labels(tokens))
        (total / count).backward()
        found.append((total.item(), {name: p.grad for name, p in model.named_parameters()}))
        assert sorted(model.state_dict()) == names
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # one program for both blocks, and unbroken
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    for name, grad in found[0][1].items():
        assert (found[1][1][name] - grad).norm() <= 1e-5 * grad.norm(), name


def test_a_run_with_compiled_blocks_is_the_run_without(tmp_path: Path):
    """Through the engine, at the ZeRO stages that allow it, on two ranks, with phases that change the context."""
    write_data(tmp_path)
    longer = {"train": [str(tmp_path / "train")], "seq_len": 64}
    given = {
        "steps": 6,
        "validate_every": 3,
        "phases": [{"name": "main", "steps": 3}, {"name": "long", "steps": 3, "data": longer, "rope_theta": 50_000.0}],
    }
    runs = {
        "plain": {},
        **{f"compiled-z{stage}": {"work__compile": True, "work__zero_stage": stage} for stage in (0, 1, 2)},
        "compiled-again": {"work__compile": True, "work__activation_checkpointing": True},
    }
    jobs = {name: str(job(tmp_path, name, **given, **changes)) for name, changes in runs.items()}
    run_plan(tmp_path, 2, [{"job": one} for one in jobs.values()])
    for name in runs:
        assert losses(tmp_path, name) == pytest.approx(losses(tmp_path, "plain"), abs=1e-5)
