"""What the processor is said to multiply in hardware."""

from pathlib import Path

import pytest
import torch

from model.precision import native_bfloat16

CPUINFO = Path("/proc/cpuinfo")
HARDWARE_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux lists its processor's instructions here")
def test_the_cpus_answer_is_that_of_the_kernel():
    words = set(CPUINFO.read_text().split())
    assert native_bfloat16(torch.device("cpu")) == bool(words & HARDWARE_FLAGS)


def test_an_unknown_device_is_not_trusted():
    assert not native_bfloat16(torch.device("meta"))
