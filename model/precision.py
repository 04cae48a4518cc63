"""Number types: which ones a processor multiplies in hardware, and which one a run or a tensor is multiplied in.

torch computes bfloat16 products on any CPU; without the instructions for it they are some 16 times slower than float32
(measured on an AVX2 machine, docs/log.md), so code that may choose asks here first.
"""

from typing import Literal

import torch
import torch.distributed as dist


def native_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware (CPU: AVX512-BF16, AMX or Arm's BF16)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(
            capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16")
        )
    return False


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The type matrix multiplications run in: autocast's where it is on, else that of x."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def agreed_dtype(
    wanted: Literal["auto", "bfloat16", "float32"], device: torch.device
) -> Literal["bfloat16", "float32"]:
    """What `auto` stands for: one answer for all ranks. Collective."""
    if wanted != "auto":
        return wanted
    native = torch.tensor(int(native_bfloat16(device)), device=device)
    dist.all_reduce(native, op=dist.ReduceOp.MIN)
    return "bfloat16" if int(native) else "float32"
