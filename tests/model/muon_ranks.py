"""A few Muon steps of a tiny network, alone or as one rank of several under DeepSpeed. Run by test_muon.py."""

import json
import sys
from pathlib import Path

import torch

from model.config import ModelConfig
from model.losses import next_token_labels
from model.optim import OptimConfig, build_optimizer
from model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=31, hidden_size=20, n_layers=2, n_heads=2, n_kv_heads=1, intermediate_size=27, max_seq_len=16
)
OPTIM = OptimConfig(name="muon", lr=0.01, muon_lr=0.05, weight_decay=0.1, grad_clip=0.1)
STEPS = 8
ROWS = 4
TOKENS = torch.arange(16).mul(7).remainder(31) + torch.zeros(ROWS, 1, dtype=torch.long)
LABELS = next_token_labels(TOKENS)


def train_alone() -> list[float]:
    """Losses of plain torch with the whole batch."""
    model = Transformer(SHAPE, seed=0)
    optimizer = build_optimizer(model, OPTIM)
    losses = []
    for _ in range(STEPS):
        total, count = model(TOKENS, labels=LABELS)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIM.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total.detach() / count))
    return losses


def train_under_zero(stage: int, rank: int, world_size: int) -> list[float]:
    """Losses of the whole batch, of which this rank has its share of rows."""
    import deepspeed
    import torch.distributed as dist

    model = Transformer(SHAPE, seed=0)
    rows = ROWS // world_size
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=build_optimizer(model, OPTIM),
        config={
            "train_micro_batch_size_per_gpu": rows,
            "train_batch_size": ROWS,
            "gradient_clipping": OPTIM.grad_clip,
            "zero_optimization": {"stage": stage},
            "zero_allow_untested_optimizer": True,
        },
    )
    mine = slice(rank * rows, (rank + 1) * rows)
    losses = []
    for _ in range(STEPS):
        total, count = engine(TOKENS[mine], labels=LABELS[mine])
        engine.backward(total / count)
        engine.step()
        mean = (total / count).detach() / world_size
        dist.all_reduce(mean)
        losses.append(float(mean))
    dist.barrier()
    engine.destroy()
    return losses


def main() -> None:
    """Arguments: rank, world size, folder for `losses-<rank>.json` and the rendezvous."""
    import torch.distributed as dist

    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    losses = {stage: train_under_zero(stage, rank, world_size) for stage in (0, 1, 2)}
    (folder / f"losses-{rank}.json").write_text(json.dumps(losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
