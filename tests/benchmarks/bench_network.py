"""How fast the network trains: tokens a core-second, beside transformers' Llama of the same shape and weights.

    make bench-network
    python -m tests.benchmarks.bench_network --dtype bfloat16 --steps 12

One process, one thread, CPU time of forward, backward and fused AdamW. Both models take turns step by step, so that
what else the machine does falls on both; the ratio of the medians is the figure. Losses are compared while at it.
"""

import argparse
import json
import platform
import statistics
import time

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from model.config import ModelConfig
from model.losses import next_token_labels
from model.precision import native_bfloat16
from model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=4096, hidden_size=256, n_layers=8, n_heads=4, n_kv_heads=2, intermediate_size=688, max_seq_len=512
)
ROWS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    native = native_bfloat16(torch.device("cpu"))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16" if native else "float32")
    parser.add_argument("--steps", type=int, default=8, help="measured steps of each model, after one to warm up")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    ours = Transformer(SHAPE, seed=0)
    settings = {key: value for key, value in SHAPE.to_hf().items() if key not in ("architectures", "model_type")}
    theirs = LlamaForCausalLM(LlamaConfig(**settings))
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(SHAPE.vocab_size, (ROWS, SHAPE.max_seq_len), generator=torch.Generator().manual_seed(0))
    labels = next_token_labels(tokens)

    def our_loss() -> torch.Tensor:
        total, count = ours.loss(tokens, labels)
        return total / count

    def their_loss() -> torch.Tensor:
        return theirs(tokens, labels=tokens).loss

    sides = {
        "sluice": (our_loss, torch.optim.AdamW(ours.parameters(), lr=1e-3, fused=True)),
        "transformers": (their_loss, torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {name: [] for name in sides}
    for step in range(arguments.steps + 1):
        for name, (loss_of, optimizer) in sides.items():
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.dtype == "bfloat16"):
                loss = loss_of()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step:
                seconds[name].append(time.process_time() - started)
            losses[name].append(float(loss.detach()))
    rate = {name: tokens.numel() / statistics.median(times) for name, times in seconds.items()}
    flops = SHAPE.flops_per_token()
    print(
        json.dumps(
            {
                "dtype": arguments.dtype,
                "tokens_per_core_second": {name: round(value) for name, value in rate.items()},
                "ratio": round(rate["sluice"] / rate["transformers"], 3),
                "gflops_per_core": {name: round(value * flops / 1e9, 1) for name, value in rate.items()},
                "largest_loss_difference": max(
                    abs(a - b) for a, b in zip(losses["sluice"], losses["transformers"], strict=True)
                ),
                "processor": platform.processor() or platform.machine(),
                "capability": torch.backends.cpu.get_cpu_capability(),
                "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            }
        )
    )


if __name__ == "__main__":
    main()
