"""Ulysses sequence parallelism: ranks share a row, each holding a part of its positions (Jacobs et al. 2023, part 3).

Everything but attention treats positions one by one. For attention, ranks exchange positions for heads by one
all-to-all: a rank then has all positions of 1/P of the heads, attends as ever, and a second all-to-all brings back its
own positions of all heads. What is exchanged a layer and rank falls with P.

DeepSpeed has a layer for this (deepspeed.sequence.layer.DistributedAttention), which was read and left: it moves q, k
and v by one call each and takes its process groups from a topology that the rest of this engine does without. The
exchange itself is the few lines below.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.attention import Visible, attention
from model.losses import IGNORE_INDEX
from model.objectives import MicroBatch
from model.transformer import Transformer


class Layout:
    """How ranks divide the samples of a batch, and, `row_ranks` at a time, the positions of a sample.

    Raises:
        ValueError: `row_ranks` does not divide the world size.
    """

    def __init__(self, rank: int, world_size: int, row_ranks: int) -> None:
        if world_size % row_ranks:
            raise ValueError(f"sequence_parallel {row_ranks} does not divide {world_size} ranks")
        self.row_ranks, self.place = row_ranks, rank % row_ranks
        self.batch_rank, self.batch_ranks = rank // row_ranks, world_size // row_ranks

    def join(self, network: nn.Module) -> None:
        """Let the ranks that share rows attend together. Collective.

        Raises:
            ValueError: the network's heads cannot be divided so.
        """
        if self.row_ranks == 1:
            return
        if not isinstance(network, Transformer) or network.config.n_kv_heads % self.row_ranks:
            heads = network.config.n_kv_heads if isinstance(network, Transformer) else "no"
            raise ValueError(f"sequence_parallel {self.row_ranks} must divide the model's {heads} key and value heads")
        firsts = range(0, self.batch_ranks * self.row_ranks, self.row_ranks)
        groups = [dist.new_group(list(range(first, first + self.row_ranks))) for first in firsts]
        parallel = SequenceParallel(groups[self.batch_rank], self.row_ranks)
        for block in network.model.layers:
            block.self_attn.attend = parallel.attend  # type: ignore[union-attr]

    def own(self, batch: MicroBatch) -> MicroBatch:
        """What this rank computes of a micro-batch that it may share with others; sums over ranks stay the same."""
        if self.row_ranks == 1:
            return batch
        tensors = take_positions(batch.tensors, self.place, self.row_ranks)
        weight = int((tensors["labels"] != IGNORE_INDEX).sum())
        return replace(batch, tensors=tensors, weight=weight, tokens=batch.tokens if self.place == 0 else 0)


class SequenceParallel:
    """Attention over positions that lie on the ranks of `group`, in order."""

    def __init__(self, group: dist.ProcessGroup, size: int) -> None:
        self.group, self.size = group, size

    def attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Visible | None, causal: bool = True) -> Tensor:
        """As `model.attention.attention`, of local positions: q [B, T / P, n_heads, D], k and v [B, T / P, n_kv, D].

        visible: over all positions. Returns [B, T / P, n_heads, D].
        """
        n_heads, n_kv_heads = q.shape[2] // self.size, k.shape[2] // self.size
        parts = [x.unflatten(2, (self.size, -1)) for x in (q, k, v)]  # the heads of each rank together
        whole = self._positions(torch.cat(parts, dim=3).flatten(2, 3))
        queries, keys, values = whole.split([n_heads, n_kv_heads, n_kv_heads], dim=2)
        return self._heads(attention(queries, keys, values, visible, causal))

    def _positions(self, x: Tensor) -> Tensor:
        """[B, T / P, P h, D] -> [B, T, h, D]: all positions of this rank's heads."""
        batch, length, heads, size = x.shape
        sent = x.view(batch, length, self.size, heads // self.size, size).movedim(2, 0).contiguous()
        got: Tensor = _Exchange.apply(sent, self.group)  # [P, B, T / P, h, D]
        return got.movedim(0, 1).flatten(1, 2)

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, h, D] -> [B, T / P, P h, D]: all heads of this rank's positions."""
        sent = x.unflatten(1, (self.size, -1)).movedim(1, 0).contiguous()
        got: Tensor = _Exchange.apply(sent, self.group)
        return got.movedim(0, 2).flatten(2, 3)


class _Exchange(torch.autograd.Function):
    """Part i of the first axis goes to rank i; what came from rank i is part i. Its own inverse, and so gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        out = torch.empty_like(grads[0], memory_format=torch.contiguous_format)
        dist.all_to_all_single(out, grads[0].contiguous(), group=ctx.group)
        return out, None


def take_positions(tensors: dict[str, Any], place: int, size: int) -> dict[str, Any]:
    """Of tensors [B, T] the positions of the rank at `place` of `size`; document_ids stay whole, for the mask.

    Adds `positions` [1, T / P], since the rows' own begin at another place than 0.
    """
    length = tensors["tokens"].shape[1]
    part = length // size
    span = slice(place * part, (place + 1) * part)
    local = {name: tensors[name][:, span].contiguous() for name in ("tokens", "labels")}
    positions = torch.arange(span.start, span.stop, device=tensors["tokens"].device)[None]
    return {**tensors, **local, "positions": positions}
