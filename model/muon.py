"""Muon: momentum whose matrices are orthogonalised before they are applied (Jordan et al. 2024).

One optimizer with two kinds of groups: the blocks' matrices are Muon's, the rest is AdamW's. It works alone, under
DeepSpeed at ZeRO stage 0 (whole matrices on every rank) and at stages 1 and 2 (one flat slice of all matrices a rank).

DeepSpeed 0.19.8 brings a Muon of its own, which was weighed and left: it orthogonalises while gradients are reduced, so
clipping by the global norm shrinks the finished update; its momentum does not survive the conversion to a universal
checkpoint, which resuming at another world size needs; and it compiles its kernels with inductor in every process.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.adamw import adamw

NEWTON_SCHULZ_COEFFICIENTS = (
    3.4445,
    -4.7750,
    2.0315,
)  # Jordan et al. 2024: steepest slope at 0, singular values 0.7-1.2
NEWTON_SCHULZ_STEPS = 5
_SMALLEST_NORM = 1e-7
_WIDE = 1.5  # columns a row from which five steps take fewer FLOPs on x x^T: 4 m^2 n + 34 m^3, not 20 m^2 n + 10 m^3


class Muon(torch.optim.Optimizer):
    """Muon with an auxiliary AdamW.

    Groups carry `muon: bool`. Muon's have `lr` (spectral norm of a step on a square matrix), `momentum` and
    `weight_decay`; AdamW's have `lr` and `weight_decay`, with `betas` and `eps` for all. Decay is decoupled.
    `dtype` is that of the products that orthogonalise: the run's, since in bf16 runs in fp32 would differ by layout.

    Raises:
        ValueError: a parameter of a Muon group is not a matrix.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        betas: tuple[float, float],
        eps: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__([dict(group) for group in groups], {"betas": betas, "eps": eps, "momentum": 0.95, "lr": 0.02})
        self.dtype = dtype
        # ZeRO replaces a group's parameters by one flat slice and steps one group at a time: the matrices themselves,
        # whose storage tells where they lie in the flat vector, are remembered under a key that survives both.
        self._matrices: list[list[Tensor]] = []
        for index, group in enumerate(self.param_groups):
            group["index"] = index
            self._matrices.append(list(group["params"]) if group["muon"] else [])
            if any(matrix.ndim != 2 for matrix in self._matrices[-1]):
                raise ValueError("Muon takes matrices only; leave norms and other parameters to AdamW")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients in `.grad`; a collective call when torch.distributed runs several ranks."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not group["muon"]:
                self._step_adamw(group)
            elif group["params"][0].ndim == 1:
                self._step_slice(group)
            else:
                self._step_matrices(group)
        return loss

    def _step_adamw(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        states = [self.state[p] for p in params]
        beta1, beta2 = group["betas"]
        adamw(
            params,
            [p.grad for p in params],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [_as_step(state) for state in states],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Every rank holds every matrix; each orthogonalises its share, and the results are exchanged."""
        params = [p for p in group["params"] if p.grad is not None]
        directions = [self._nesterov(p, p.grad, group["momentum"]) for p in params]
        rank, world_size = _rank_and_world_size()
        mine = _shares([p.shape for p in params], world_size)[rank]
        updates = [torch.zeros_like(p) for p in params]
        for index, update in zip(mine, orthogonalize([directions[index] for index in mine], self.dtype), strict=True):
            updates[index] = update
        if world_size > 1:
            flat = torch.cat([update.flatten() for update in updates])
            dist.all_reduce(flat)  # One term a matrix is not zero, so the sum is exact.
            updates = [part.view_as(p) for part, p in zip(flat.split([p.numel() for p in params]), params, strict=True)]
        for p, update in zip(params, updates, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])

    def _step_slice(self, group: dict[str, Any]) -> None:
        """ZeRO 1 and 2: this rank holds one slice of the flat vector that all matrices of the group lie in."""
        (p,) = group["params"]
        if p.grad is None:
            return
        direction = self._nesterov(p, p.grad, group["momentum"])
        rank, world_size = _rank_and_world_size()
        flat = direction
        if world_size > 1:
            flat = torch.empty(world_size * p.numel(), dtype=p.dtype, device=p.device)
            dist.all_gather(list(flat.chunk(world_size)), direction)
        matrices = self._matrices[group["index"]]
        origin = min(matrix.storage_offset() for matrix in matrices)
        starts = [matrix.storage_offset() - origin for matrix in matrices]
        if len({matrix.untyped_storage().data_ptr() for matrix in matrices}) > 1 or max(starts) >= flat.numel():
            raise ValueError("Muon works at ZeRO stages 0, 1 and 2 without offloading; set zero_stage to one of them")
        first = rank * p.numel()
        touched = [i for i, m in enumerate(matrices) if starts[i] < first + p.numel() and starts[i] + m.numel() > first]
        wanted = [flat[starts[i] : starts[i] + matrices[i].numel()].view_as(matrices[i]) for i in touched]
        found = orthogonalize(wanted, self.dtype)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        for i, matrix in zip(touched, found, strict=True):
            begin, end = max(starts[i], first), min(starts[i] + matrix.numel(), first + p.numel())
            update = matrix.flatten()[begin - starts[i] : end - starts[i]]
            p[begin - first : end - first].add_(update, alpha=-group["lr"])

    def _nesterov(self, p: Tensor, grad: Tensor, momentum: float) -> Tensor:
        """The gradient blended with its running mean, which is elementwise and so may be cut anywhere."""
        state = self.state[p]
        if not state:
            state["exp_avg"] = torch.zeros_like(p)
            if p.ndim == 1:
                # DeepSpeed's universal checkpoint knows Adam's two moments and stops where one is missing.
                state["exp_avg_sq"] = torch.zeros_like(p)
        mean = state["exp_avg"]
        mean.lerp_(grad.to(mean.dtype), 1 - momentum)
        return grad.to(mean.dtype).lerp(mean, momentum)


def orthogonalize(matrices: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """For each [m, n] = U S V^T about U V^T, times sqrt(max(1, m / n)) (Jordan et al. 2024), in the input's type.

    Five quintic Newton-Schulz steps in `dtype` (bf16 serves, Jordan et al.); equal shapes are done as one batch.
    """
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, matrix in enumerate(matrices):
        by_shape.setdefault((matrix.shape[0], matrix.shape[1]), []).append(index)
    found: list[Tensor] = [torch.empty(0)] * len(matrices)
    for (rows, columns), indices in by_shape.items():
        batch = torch.stack([matrices[index] for index in indices])
        scale = max(1.0, rows / columns) ** 0.5
        for index, update in zip(indices, _newton_schulz(batch, dtype).mul_(scale), strict=True):
            found[index] = update
    return found


def _newton_schulz(batch: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, m, n] to about U V^T each: singular values end between 0.7 and 1.2, which serves as well as 1."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    x = batch / (torch.linalg.matrix_norm(batch, keepdim=True) + _SMALLEST_NORM)
    x = x.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    if x.dtype == torch.float32 and x.shape[2] >= _WIDE * x.shape[1]:
        x = _polynomial(x @ x.mT) @ x
    else:
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(batch.dtype)


def _polynomial(gram: Tensor) -> Tensor:
    """All the steps as one factor [B, m, m] of x [B, m, n], found from gram = x x^T alone.

    A step is x <- P x with P = a + b gram + c gram^2, and P commutes with gram, so the next gram is P gram P: products
    of m^3, not m^2 n. Rounding is up to thirty times that of the steps on x, 2e-4 of the whole for singular values down
    to 1e-7, which fp32 can afford and bf16 cannot.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    whole = None
    for step in range(NEWTON_SCHULZ_STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        whole = factor if whole is None else factor @ whole
        if step < NEWTON_SCHULZ_STEPS - 1:
            gram = factor @ gram @ factor
    assert whole is not None
    return whole


def _shares(shapes: Sequence[torch.Size], world_size: int) -> list[list[int]]:
    """Indices of the matrices each rank orthogonalises: dearest first, each to the rank with least to do."""
    loads = [0] * world_size
    shares: list[list[int]] = [[] for _ in range(world_size)]
    cost = [min(shape) * min(shape) * max(shape) for shape in shapes]
    for index in sorted(range(len(shapes)), key=lambda index: (-cost[index], index)):
        rank = loads.index(min(loads))
        loads[rank] += cost[index]
        shares[rank].append(index)
    return shares


def _rank_and_world_size() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _as_step(state: dict[str, Any]) -> Tensor:
    """Adam's step counter as a tensor; a universal checkpoint may give it back as a number."""
    if not isinstance(state["step"], Tensor):
        state["step"] = torch.tensor(float(state["step"]))
    return state["step"]
