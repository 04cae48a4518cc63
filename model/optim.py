"""What turns gradients into steps: parameter groups, AdamW, Muon, and learning-rate schedules.

Schedules are pure functions of the step, so that a resumed run needs no state for them. The engine multiplies each
group's peak learning rate by `learning_rate_scale`.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model.config import OptimConfig
from model.job import Phase
from model.muon import Muon


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW or Muon over `parameter_groups`; each group carries its peak `lr`."""
    groups = parameter_groups(model, config)
    if config.name == "muon":
        return Muon(groups, betas=config.betas, eps=config.eps)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Groups in order: the blocks' matrices, embeddings and head, norms. A tied head is an embedding.

    Norms and embeddings do not decay: pulling a gain towards 0 is no prior, and a rare token's embedding would only
    ever shrink (OLMo 2, section 3.3). With Muon the blocks' matrices are its; the rest is AdamW's.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices: list[Tensor] = []
    lookups: list[Tensor] = []
    heads: list[Tensor] = []
    gains: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in embeddings:
            lookups.append(parameter)
        elif parameter.ndim < 2:
            gains.append(parameter)
        elif name.endswith("lm_head.weight"):
            heads.append(parameter)
        else:
            matrices.append(parameter)
    adam: dict[str, Any] = {"lr": config.lr}
    matrix: dict[str, Any] = {"weight_decay": config.weight_decay, **adam}
    if config.name == "muon":
        adam["muon"] = False
        matrix |= {"muon": True, "lr": config.muon_lr, "momentum": config.muon_momentum}
    groups = [
        {"params": matrices, **matrix},
        {"params": heads, "weight_decay": config.weight_decay, **adam},
        {"params": lookups, "weight_decay": 0.0, **adam},
        {"params": gains, "weight_decay": 0.0, **adam},
    ]
    return [group for group in groups if group["params"]]


def learning_rate_scale(config: OptimConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`, as a share of the peak.

    Warm-up rises to 1 over `warmup_steps`; the first step already learns. The decay runs over the steps after it and
    would reach `min_lr_ratio` one step after the last.

    Raises:
        ValueError: `step` is not one of 0..steps-1.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is outside a run of {steps} steps")
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    if config.schedule in ("wsd", "trapezoid"):
        decay_steps = min(config.decay_fraction * steps, steps - config.warmup_steps)
        progress = max(0.0, step - (steps - decay_steps)) / decay_steps
    else:
        progress = (step - config.warmup_steps) / (steps - config.warmup_steps)
    shape = {"trapezoid": "linear", "wsd": "sqrt"}.get(config.schedule, config.schedule)
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * remaining(shape, progress)


def remaining(shape: str, progress: float) -> float:
    """What is left of a decay after `progress` [0, 1] of it: 1 at its beginning, 0 at its end."""
    if shape == "linear":
        return 1 - progress
    if shape == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2  # Loshchilov & Hutter 2017, equation 5
    if shape == "sqrt":
        return 1 - math.sqrt(progress)  # Hägele et al. 2024, section 3.2
    raise ValueError(f"no decay is called {shape!r}")


def phased_learning_rate_scale(config: OptimConfig, phases: Sequence[Phase], step: int) -> float:
    """Learning rate of step `step` (from 0) of a run in phases, as a share of the peak.

    The optimizer's schedule runs over the leading phases that have no rate of their own. A later phase without one
    keeps the rate that the phase before it ended with.

    Raises:
        ValueError: `step` is outside of the run.
    """
    leading = 0
    for phase in phases:
        if phase.rate is not None:
            break
        leading += phase.steps
    if step < leading:
        return learning_rate_scale(config, step, leading)
    scale = _end_of_schedule(config, leading) if leading else 1.0
    first = leading
    for phase in phases:
        if first == leading and phase.rate is None:
            continue  # a leading one
        start = end = scale
        if phase.rate is not None:
            start = scale if phase.rate.start is None else phase.rate.start
            end = start if phase.rate.shape == "constant" else phase.rate.end
        if step < first + phase.steps:
            if start == end or phase.rate is None:
                return start
            return end + (start - end) * remaining(phase.rate.shape, (step - first) / phase.steps)
        first, scale = first + phase.steps, end
    raise ValueError(f"step {step} is outside a run of {first} steps")


def _end_of_schedule(config: OptimConfig, steps: int) -> float:
    """The share that a schedule over `steps` steps has come to after the last."""
    if steps <= config.warmup_steps:
        return learning_rate_scale(config, steps - 1, steps)
    return 1.0 if config.schedule == "constant" else config.min_lr_ratio
