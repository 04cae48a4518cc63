"""Training runs as their makers published them, to hold the plan's arithmetic against."""

from dataclasses import dataclass

from tasks.plan.compute import training_flops


@dataclass(frozen=True)
class PublishedRun:
    """One run.

    Attributes:
        params: parameters active for a token.
        tokens: training tokens.
        flops: training FLOPs as published; None where only sizes are.
        gpu_hours: as published, on `device`.
        devices: how many at a time, as published.
    """

    name: str
    params: float
    tokens: float
    flops: float | None
    gpu_hours: float | None
    device: str
    source: str
    devices: int | None = None

    @property
    def days(self) -> float | None:
        """Days that the published hours are on so many devices."""
        return self.gpu_hours / self.devices / 24 if self.gpu_hours and self.devices else None

    @property
    def planned_flops(self) -> float:
        """6 N D."""
        return training_flops(self.params, self.tokens)

    @property
    def achieved(self) -> float | None:
        """FLOP/s a device that the published hours imply."""
        return self.planned_flops / (self.gpu_hours * 3600) if self.gpu_hours else None


PUBLISHED = (
    PublishedRun("GPT-3 175B", 175e9, 300e9, 3.14e23, None, "v100", "Brown et al. 2020, arXiv:2005.14165, table D.1"),
    PublishedRun(
        "Gopher 280B", 280e9, 300e9, 5.76e23, None, "tpu-v3", "Hoffmann et al. 2022, arXiv:2203.15556, table 1"
    ),
    PublishedRun("Chinchilla 70B", 70e9, 1.4e12, 5.76e23, None, "tpu-v4", "Hoffmann et al. 2022, section 4.1"),
    PublishedRun(
        "PaLM 540B", 540e9, 780e9, 2.56e24, None, "tpu-v4", "Chowdhery et al. 2022, arXiv:2204.02311, section 4"
    ),
    PublishedRun(
        "LLaMA 65B", 65e9, 1.4e12, None, 1_022_362, "a100", "Touvron et al. 2023, arXiv:2302.13971, table 15", 2048
    ),
    PublishedRun(
        "Llama 2 70B", 70e9, 2.0e12, None, 1_720_320, "a100", "Touvron et al. 2023, arXiv:2307.09288, table 2"
    ),
    PublishedRun(
        "Llama 3 405B", 405e9, 15.6e12, 3.8e25, 30.84e6, "h100", "arXiv:2407.21783, section 3; model card", 16_384
    ),
    PublishedRun("DeepSeek-V3", 37e9, 14.8e12, None, 2.664e6, "h800", "arXiv:2412.19437, table 1 (pre-training)", 2048),
)
