"""Which number types a processor multiplies in hardware.

torch computes bfloat16 products on any CPU; without the instructions for it they are some 16 times slower than float32
(measured on an AVX2 machine, docs/log.md), so code that may choose asks here first.
"""

import torch


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
