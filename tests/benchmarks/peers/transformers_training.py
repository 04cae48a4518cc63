"""transformers' LlamaForCausalLM in a plain torch loop, as one would write it: the peer of `bench-training`.

    python transformers_training.py SETTINGS.json

It knows nothing of Sluice. SETTINGS has: model (a Hugging Face folder to start from), rows (.npy int32
[steps, batch, T + 1]), metrics (where a JSON line a step goes), dtype, threads, lr, betas, eps, weight_decay, clip,
compile. Attention is torch's scaled_dot_product_attention, the loss transformers' own, AdamW the fused one (foreach and
the plain loop are slower), gradients are set to None, weights stay float32 under autocast.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM


def main(settings: dict[str, Any]) -> None:
    """Train over all rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(settings["model"], attn_implementation="sdpa", dtype=torch.float32)
    model.to(device).train()
    decays = {id(p) for name, p in model.named_parameters() if p.ndim > 1 and "embed_tokens" not in name}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if id(p) in decays], "weight_decay": settings["weight_decay"]},
            {"params": [p for p in model.parameters() if id(p) not in decays], "weight_decay": 0.0},
        ],
        lr=settings["lr"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        fused=True,
    )
    network = torch.compile(model) if settings["compile"] else model
    rows = np.load(settings["rows"], mmap_mode="r")
    began = time.perf_counter()
    with Path(settings["metrics"]).open("w", encoding="utf-8") as log:
        for step, batch in enumerate(rows, start=1):
            tokens = torch.from_numpy(batch.astype(np.int64)).to(device)
            inputs, labels = tokens[:, :-1], tokens[:, 1:].contiguous()
            with torch.autocast(device.type, torch.bfloat16, enabled=settings["dtype"] == "bfloat16"):
                loss = network(input_ids=inputs, labels=labels, shift_labels=labels, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            row = {
                "step": step,
                "loss": loss.item(),
                "seconds": time.perf_counter() - began,
                "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
            }
            log.write(json.dumps(row) + "\n")
            log.flush()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
