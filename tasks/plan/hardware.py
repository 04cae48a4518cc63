"""Accelerators as their makers describe them: dense bf16 peak (not the figure "with sparsity"), memory, board power.

Prices are what renting one for an hour cost in the open market around 2026; they are the least certain number of any
plan and meant to be replaced (`--price`).
"""

from dataclasses import dataclass

from infra.errors import BadConfig

TERA = 1e12
GIB = 1 << 30


@dataclass(frozen=True)
class Accelerator:
    """One device.

    Attributes:
        peak: dense bf16 (V100: fp16) FLOP/s.
        memory: bytes.
        power: watts of the board at full load (TDP).
        price: US dollars an hour.
    """

    name: str
    peak: float
    memory: float
    power: float
    price: float


_DEVICES = (
    Accelerator("v100", 125 * TERA, 32 * GIB, 300, 0.55),
    Accelerator("a100", 312 * TERA, 80 * GIB, 400, 1.50),
    Accelerator("a100-40", 312 * TERA, 40 * GIB, 400, 1.20),
    Accelerator("h100", 989 * TERA, 80 * GIB, 700, 2.50),
    Accelerator("h800", 989 * TERA, 80 * GIB, 700, 2.00),
    Accelerator("h200", 989 * TERA, 141e9, 700, 3.20),
    Accelerator("b200", 2250 * TERA, 180e9, 1000, 4.50),
    Accelerator("mi300x", 1307 * TERA, 192e9, 750, 2.80),
    Accelerator("l40s", 362 * TERA, 48e9, 350, 0.90),
    Accelerator("rtx4090", 165 * TERA, 24e9, 450, 0.40),
    Accelerator("tpu-v4", 275 * TERA, 32 * GIB, 192, 1.60),
)
ACCELERATORS = {device.name: device for device in _DEVICES}


def accelerator(name: str) -> Accelerator:
    """A device by name.

    Raises:
        BadConfig: it is not in the list.
    """
    if name.lower() not in ACCELERATORS:
        raise BadConfig(f"no GPU is called {name!r}; known: {', '.join(ACCELERATORS)}")
    return ACCELERATORS[name.lower()]
