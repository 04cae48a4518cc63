"""The plan of one training run: what it computes, how long, on how much memory, for how much money and carbon.

    plan(PlanParams(params=70e9, tokens=1.4e12, gpu="h100", gpus=1024))

Every figure follows from the parameters by a formula that its module cites; nothing is looked up.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from infra.errors import BadConfig
from infra.params import Params
from model.config import ModelConfig, training_flops_per_token
from model.presets import PRESETS, PresetName
from tasks.plan import compute, memory
from tasks.plan.hardware import Accelerator, accelerator
from tasks.plan.memory import TrainingMemory

WATT_HOURS = 1000.0  # in a kilowatt-hour
YEAR_DAYS = 365.25
# Training above it had to be reported in the United States (Executive Order 14110, 2023, section 4.2(b); revoked 2025).
REPORTING_FLOPS = 1e26
# Above it the European Union presumes systemic risk (Regulation (EU) 2024/1689, article 51(2)).
SYSTEMIC_RISK_FLOPS = 1e25
ATTENTION_WORTH_SAYING = 0.1  # share of 6ND that attention adds


@dataclass(frozen=True)
class Sizes:
    """What a plan needs of a network's shape."""

    params: float
    matmul_params: float
    """Those of the matrix products, the embedding lookup not among them; all of them where the shape is not known."""
    layers: int
    hidden: int
    attention_width: int
    """Query heads x head size."""
    kv_width: int
    """Key-value heads x head size."""


class PlanParams(Params):
    """What is to be trained, on what."""

    params: float | None = Field(
        None, gt=0, description="Parameters of the model (active ones, for a mixture of experts); empty: the preset's."
    )
    preset: PresetName | None = Field(None, description="A shape by name, for parameters, layers, widths and heads.")
    tokens: float | None = Field(None, gt=0, description="Training tokens; empty: params times ratio.")
    ratio: float = Field(
        compute.CHINCHILLA_RATIO, gt=0, description="Tokens a parameter when `tokens` is empty (20: Chinchilla)."
    )
    gpu: str = Field("h100", description="Accelerator, by name.")
    gpus: int = Field(8, ge=1, description="How many of them.")
    mfu: float = Field(0.40, gt=0, le=1, description="Model FLOPs utilisation, the share of the peak that is achieved.")
    achieved: float | None = Field(None, gt=0, description="FLOP/s a GPU achieves; given, it stands for peak x mfu.")
    count: Literal["6nd", "exact"] = Field(
        "6nd",
        description="FLOPs that hours, cost and energy are of. 6nd: as most publications; exact: with attention at"
        " seq_len, as MFU is measured here.",
    )
    layers: int | None = Field(None, ge=1, description="Layers; empty: the usual number for so many parameters.")
    hidden: int | None = Field(None, ge=1, description="Width of the residual stream; empty: the usual one.")
    heads: int | None = Field(None, ge=1, description="Query heads.")
    kv_heads: int | None = Field(None, ge=1, description="Key-value heads; empty: as many as query heads.")
    kv_width: int | None = Field(None, ge=1, description="Key-value heads x head size; empty: from the heads.")
    vocab: int = Field(128_256, ge=1, description="Vocabulary (Llama 3: 128,256).")
    seq_len: int = Field(8192, ge=1, description="Tokens of a training sequence.")
    micro_batch: int = Field(1, ge=1, description="Sequences in one forward pass on one GPU.")
    optimizer: memory.Optimizer = Field("adamw", description="Of the matrices.")
    checkpointing: bool = Field(False, description="Recompute activations in the backward pass.")
    checkpoints: int = Field(10, ge=0, description="Checkpoints that are kept.")
    price: float | None = Field(None, ge=0, description="US dollars a GPU hour; empty: the accelerator's.")
    people: float = Field(0.0, ge=0, description="People at work for as long as the run takes.")
    salary: float = Field(250_000.0, ge=0, description="What one of them costs a year, in US dollars.")
    pue: float = Field(1.2, ge=1, description="Power usage effectiveness: power of the site over that of its machines.")
    host_share: float = Field(0.35, ge=0, description="Power of host, network and storage over that of the GPUs.")
    carbon: float = Field(0.40, ge=0, description="kg CO2e a kWh of the grid (world 2024: about 0.45, US 0.37).")

    @model_validator(mode="after")
    def _a_whole_shape(self) -> Self:
        if self.params is None and self.preset is None:
            raise ValueError("say how large the model is: --params, as in 70e9, or --preset")
        if (self.layers is None) != (self.hidden is None):
            raise ValueError("give both --layers and --hidden, or neither")
        if self.preset is not None and (self.params or self.layers or self.heads or self.kv_heads or self.kv_width):
            raise ValueError("--preset says parameters, layers, widths and heads: leave those out")
        if self.kv_heads is not None and self.heads is None:
            raise ValueError("--kv-heads needs --heads: their ratio says how wide a key is")
        if self.kv_heads is not None and self.kv_width is not None:
            raise ValueError("give --kv-heads or --kv-width, not both")
        if self.heads and self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(f"--heads {self.heads} is no multiple of --kv-heads {self.kv_heads}")
        return self

    def sizes(self) -> Sizes:
        """The shape asked for, the preset's, or the usual one for so many parameters."""
        if self.preset is not None:
            shape = ModelConfig(vocab_size=self.vocab, max_seq_len=self.seq_len, **PRESETS[self.preset])
            return Sizes(
                shape.n_params,
                shape.n_matmul_params,
                shape.n_layers,
                shape.hidden_size,
                shape.n_heads * shape.head_size,
                shape.n_kv_heads * shape.head_size,
            )
        assert self.params is not None
        layers, hidden = compute.usual_shape(self.params)
        layers, hidden = self.layers or layers, self.hidden or hidden
        kv_width = hidden * self.kv_heads // self.heads if self.heads and self.kv_heads else self.kv_width or hidden
        return Sizes(self.params, self.params, layers, hidden, hidden, kv_width)


@dataclass(frozen=True)
class Plan:
    """All figures, in base units unless the name says otherwise."""

    params: float
    tokens: float
    flops: float
    exact_flops: float
    """Of the matrix products and of attention, for the shape given or usual."""
    layers: int
    hidden: int
    gpu: str
    gpus: int
    flops_per_gpu: float
    """Achieved FLOP/s of one GPU."""
    gpu_hours: float
    days: float
    gpu_bytes: float
    training: tuple[TrainingMemory, ...]
    """By ZeRO stage, as `pretrain` trains."""
    training_published: tuple[TrainingMemory, ...]
    """The same in mixed precision as the ZeRO paper has it."""
    kv_width: int
    inference_weights: float
    inference_cache: float
    checkpoint: float
    checkpoint_published: float
    checkpoint_storage: float
    gpu_cost: float
    people_cost: float
    kwh: float
    tonnes_co2e: float
    warnings: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self)
        for name in ("training", "training_published"):
            values[name] = [{**asdict(one), "total": one.total} for one in getattr(self, name)]
        return values


def plan(asked: PlanParams) -> Plan:
    """Compute all figures.

    Raises:
        BadConfig: the accelerator is unknown.
    """
    device = accelerator(asked.gpu)
    sizes = asked.sizes()
    params = sizes.params
    tokens = asked.tokens if asked.tokens is not None else params * asked.ratio
    flops = compute.training_flops(params, tokens)
    width = sizes.layers * sizes.attention_width
    exact = training_flops_per_token(sizes.matmul_params, width, asked.seq_len) * tokens
    achieved = asked.achieved or device.peak * asked.mfu
    if achieved > device.peak:
        raise BadConfig(f"--achieved {achieved:.3g} FLOP/s is more than the peak of {device.name}, {device.peak:.3g}")
    seconds = compute.device_seconds(exact if asked.count == "exact" else flops, achieved)
    gpu_hours, days = seconds / compute.HOUR, seconds / asked.gpus / compute.DAY
    training, published = (_training(asked, recipe) for recipe in (memory.OURS, memory.PUBLISHED))
    weights, cache = memory.inference_bytes(
        params, layers=sizes.layers, kv_width=sizes.kv_width, seq_len=asked.seq_len, batch=1
    )
    checkpoint = memory.checkpoint_bytes(memory.OURS, params, asked.gpus, asked.optimizer)
    kwh = gpu_hours * device.power * (1 + asked.host_share) * asked.pue / WATT_HOURS
    return Plan(
        params=params,
        tokens=tokens,
        flops=flops,
        exact_flops=exact,
        layers=sizes.layers,
        hidden=sizes.hidden,
        gpu=device.name,
        gpus=asked.gpus,
        flops_per_gpu=achieved,
        gpu_hours=gpu_hours,
        days=days,
        gpu_bytes=device.memory,
        training=training,
        training_published=published,
        kv_width=sizes.kv_width,
        inference_weights=weights,
        inference_cache=cache,
        checkpoint=checkpoint,
        checkpoint_published=memory.checkpoint_bytes(memory.PUBLISHED, params, asked.gpus, asked.optimizer),
        checkpoint_storage=checkpoint * asked.checkpoints,
        gpu_cost=gpu_hours * (device.price if asked.price is None else asked.price),
        people_cost=asked.people * asked.salary * days / YEAR_DAYS,
        kwh=kwh,
        tonnes_co2e=kwh * asked.carbon / 1000,
        warnings=tuple(_warnings(asked, flops, exact, training, device)),
    )


def _training(asked: PlanParams, recipe: memory.Recipe) -> tuple[TrainingMemory, ...]:
    """By ZeRO stage; Muon, which orthogonalises whole matrices, knows 0 to 2."""
    sizes = asked.sizes()
    return tuple(
        memory.training_memory(
            recipe,
            sizes.params,
            stage,
            asked.gpus,
            layers=sizes.layers,
            hidden=sizes.hidden,
            vocab=asked.vocab,
            seq_len=asked.seq_len,
            micro_batch=asked.micro_batch,
            checkpointing=asked.checkpointing,
            optimizer=asked.optimizer,
        )
        for stage in memory.ZERO_STAGES
        if asked.optimizer == "adamw" or stage < 3
    )


def _warnings(
    asked: PlanParams, flops: float, exact: float, training: tuple[TrainingMemory, ...], device: Accelerator
) -> list[str]:
    found = []
    if max(flops, exact) >= REPORTING_FLOPS:
        found.append(
            f"{_over(flops, exact, REPORTING_FLOPS)} is at or above 1e26: runs of this size were reportable in the"
            " United States (Executive Order 14110, since revoked) and are regulated elsewhere; ask before you start"
        )
    elif max(flops, exact) >= SYSTEMIC_RISK_FLOPS:
        found.append(
            f"{_over(flops, exact, SYSTEMIC_RISK_FLOPS)} is above 1e25: the EU presumes systemic risk (Regulation"
            " 2024/1689, article 51)"
        )
    if all(one.total > device.memory for one in training):
        least = min(training, key=lambda one: one.total)
        whole = least.buffers + least.activations + least.logits
        advice = (
            f"{whole / 1e9:.0f} GB of it no number of GPUs divides (bf16 copies, activations, logits): take a smaller"
            " micro-batch, --checkpointing, or a smaller model"
            if whole > device.memory
            else "take more GPUs, a smaller micro-batch, or --checkpointing"
        )
        found.append(
            f"no ZeRO stage fits {device.name} ({device.memory / 1e9:.0f} GB): the least is"
            f" {least.total / 1e9:.0f} GB a GPU; {advice}"
        )
    if asked.count == "6nd" and exact > flops * (1 + ATTENTION_WORTH_SAYING):
        found.append(
            f"at {asked.seq_len:,} tokens attention adds {exact / flops - 1:.0%} to 6ND, which hours, cost and energy"
            " leave out: count it with --count exact, or plan with a shorter --seq-len"
        )
    return found


def _over(flops: float, exact: float, limit: float) -> str:
    """The count that reaches a limit: 6ND, or only what attention adds to it."""
    return f"{flops:.2g} FLOP" if flops >= limit else f"{exact:.2g} FLOP with attention"
