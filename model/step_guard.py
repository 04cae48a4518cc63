"""Asks, before every update of the weights, whether it is to be made, and knows the gradient norm.

The norm is known only inside DeepSpeed's own step, between reducing gradients and updating; so the question is asked
where DeepSpeed calls the optimizer, once a parameter group. Leaving the update out leaves weights, moments and step
counters as they were, at every ZeRO stage.
"""

import math
from typing import Any

import torch
from torch import nn

from model.checkpoint import TrainState
from model.outliers import SkipConfig


class StepGuard:
    """One a run; `expect` comes before each step of DeepSpeed's engine that updates."""

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, config: SkipConfig | None, zero_stage: int
    ) -> None:
        self.network, self.config, self.zero_stage = network, config, zero_stage
        if self.config is not None:
            update = optimizer.step

            def guarded(*args: Any, **kwargs: Any) -> Any:
                return None if self.skips() else update(*args, **kwargs)

            optimizer.step = guarded  # type: ignore[method-assign]

    def expect(self, state: TrainState, loss: float, engine: Any) -> None:
        """What the next update is judged by: the loss of its global batch, the same on all ranks."""
        self.state, self.loss, self.engine = state, loss, engine
        self.verdict: bool | None = None
        # DeepSpeed keeps no norm at stage 0, where every rank has all gradients.
        self.whole_norm = _grad_norm(self.network) if self.zero_stage == 0 else None

    @property
    def grad_norm(self) -> float:
        """L2 norm of all gradients before clipping."""
        if self.whole_norm is not None:
            return self.whole_norm
        if getattr(self.engine.optimizer, "overflow", False):
            return math.inf  # DeepSpeed has left the step out by itself
        return float(self.engine.optimizer._global_grad_norm)

    def skips(self) -> bool:
        """Whether this step is left out: one answer a step, the same on all ranks."""
        if self.config is None or self.state.step == 0:  # nothing to compare the first step with
            return False
        if self.verdict is None:
            self.verdict = self.state.recent.judge(self.loss, self.grad_norm, self.config)
        return self.verdict


def _grad_norm(network: nn.Module) -> float:
    """L2 norm of all gradients before clipping."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]))
