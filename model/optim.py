"""What turns gradients into steps: parameter groups, AdamW and Muon. Learning rates are in `model/schedule.py`."""

from typing import Any

import torch
from torch import Tensor, nn

from model.config import OptimConfig
from model.muon import Muon


def build_optimizer(model: nn.Module, config: OptimConfig, dtype: torch.dtype = torch.float32) -> torch.optim.Optimizer:
    """AdamW or Muon over `parameter_groups`; each group carries its peak `lr`. `dtype`: of the run's products."""
    groups = parameter_groups(model, config)
    if config.name == "muon":
        return Muon(groups, betas=config.betas, eps=config.eps, dtype=dtype)
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
