"""What a run optimises: next tokens (lm, sft), masked tokens (mlm) or preferences (dpo), behind one interface.

An objective owns its rows and says what a loss is divided by. Losses are returned as *sums*; the engine divides them by
the weight of the whole global batch, over micro-batches and ranks. (A mean a micro-batch would weigh tokens by how few
of their neighbours are unmasked: the well-known error of masked gradient accumulation.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from model.config import DPOConfig
from model.data import ChatRows, MixedRows, PairRows, TokenRows, stack_rows
from model.dpo import dpo_loss
from model.job import Data, Job
from model.losses import IGNORE_INDEX
from model.masked import MaskTokens, stack_masked

Network = Callable[..., Any]  # DeepSpeed's engine around a network, or the network itself
Sums = dict[str, Tensor]


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass takes. `weight`: units a loss is divided by; `tokens`: inputs that are not padding."""

    tensors: dict[str, Tensor | None]
    weight: int
    tokens: int


class Objective(Protocol):
    """One way to learn from rows."""

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def micro_batch(self, samples: Sequence[int | None], step: int = 0) -> MicroBatch:
        """Load samples for a step of training (0: validation); None is an empty one."""
        ...

    def loss(self, network: Network, batch: MicroBatch) -> tuple[Tensor, Sums]:
        """(summed loss to minimise, sums of what else is logged)."""
        ...

    def measure(self, network: Network, batch: MicroBatch) -> Sums:
        """Sums for validation, without gradients; always with `loss` and `weight`."""
        ...

    def summary(self, sums: dict[str, float]) -> dict[str, float]:
        """Metrics by name from sums over a batch, or over all of the held-out data."""
        ...


class NextToken:
    """Cross-entropy of the next token, over the labels that are not masked (lm: all; sft: the assistant's turns).

    `z_loss` is added while learning (see `OptimConfig`); what is reported as `loss` is the cross-entropy alone.
    """

    def __init__(
        self, rows: TokenRows | ChatRows, token_bytes: Tensor | None, device: torch.device, z_loss: float = 0.0
    ) -> None:
        self.rows = rows
        self.token_bytes = None if token_bytes is None else token_bytes.to(device)  # labels, on it, index them
        self.device = device
        self.z_loss = z_loss
        self.masked = not isinstance(rows, TokenRows) or rows.document_mask

    def __len__(self) -> int:
        return len(self.rows)

    def micro_batch(self, samples: Sequence[int | None], step: int = 0) -> MicroBatch:
        tokens, labels, documents = self._stack(samples, step)
        if isinstance(self.rows, ChatRows):
            n_tokens = sum(self.rows.used[sample] for sample in samples if sample is not None)
        else:
            n_tokens = self.rows.seq_len * sum(sample is not None for sample in samples)
        return MicroBatch(
            {
                "tokens": tokens.to(self.device),
                "labels": labels.to(self.device),
                "document_ids": documents.to(self.device) if self.masked else None,
            },
            weight=int((labels != IGNORE_INDEX).sum()),
            tokens=n_tokens,
        )

    def _stack(self, samples: Sequence[int | None], step: int) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002
        """(tokens, labels, document_ids), each [B, T]."""
        return stack_rows(self.rows, samples)

    def loss(self, network: Network, batch: MicroBatch) -> tuple[Tensor, Sums]:
        if not self.z_loss:
            loss, _ = network(**batch.tensors, reduction="sum")
            return loss, {}
        loss, _, z_term = network(**batch.tensors, reduction="sum", z_loss=self.z_loss)
        return loss, {"z_loss": z_term}

    def measure(self, network: Network, batch: MicroBatch) -> Sums:
        nll = network(**batch.tensors, reduction="none").double()
        sums = {"loss": nll.sum(), "weight": torch.tensor(batch.weight, dtype=torch.float64)}
        if self.token_bytes is not None:
            labels = batch.tensors["labels"]
            assert labels is not None
            n_bytes = self.token_bytes[labels.clamp(min=0)] * (labels != IGNORE_INDEX)
            # Special tokens are no text: neither their bytes nor their bits count (as in lm-evaluation-harness).
            sums |= {"bytes": n_bytes.sum().double(), "text_nll": nll[n_bytes > 0].sum()}
        return sums

    def summary(self, sums: dict[str, float]) -> dict[str, float]:
        weight = max(sums["weight"], 1.0)
        z_term = sums.get("z_loss", 0.0)
        found = {"loss": (sums["loss"] - z_term) / weight}
        if self.z_loss and "z_loss" in sums:
            found["z_loss"] = z_term / weight
        if sums.get("bytes"):
            found["bits_per_byte"] = sums["text_nll"] / (math.log(2) * sums["bytes"])
        return found


class MaskedToken(NextToken):
    """Cross-entropy of masked tokens, nats a masked token (see `model.masked`). For networks that read both ways."""

    def __init__(
        self,
        rows: TokenRows,
        vocabulary: MaskTokens,
        seed: int,
        device: torch.device,
        z_loss: float = 0.0,
    ) -> None:
        # No bytes a token: bits per byte belong to a distribution over whole texts, which this is not.
        super().__init__(rows, None, device, z_loss)
        self.vocabulary = vocabulary
        self.seed = seed

    def _stack(self, samples: Sequence[int | None], step: int) -> tuple[Tensor, Tensor, Tensor]:
        return stack_masked(self.rows, samples, step, self.seed, self.vocabulary)


class Preferences:
    """Direct preference optimisation (Rafailov et al. 2023, equation 7) over pairs, against a fixed reference.

    `reference` [pairs, 2] are the log-probabilities of the chosen and the rejected answers under the reference model;
    it is None while they are being computed.
    """

    def __init__(self, rows: PairRows, config: DPOConfig, device: torch.device) -> None:
        self.rows = rows
        self.config = config
        self.device = device
        self.reference: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def micro_batch(self, samples: Sequence[int | None], step: int = 0) -> MicroBatch:  # noqa: ARG002
        tokens, labels = self.rows.batch(samples)
        tensors: dict[str, Tensor | None] = {"tokens": tokens.to(self.device), "labels": labels.to(self.device)}
        if self.reference is not None:
            filled = [0 if sample is None else sample for sample in samples]
            tensors["reference"] = self.reference[filled].to(self.device)
        tensors["real"] = torch.tensor([sample is not None for sample in samples], device=self.device)
        n_tokens = int(sum(self.rows.lengths[sample].sum() for sample in samples if sample is not None))
        return MicroBatch(tensors, weight=sum(sample is not None for sample in samples), tokens=n_tokens)

    def log_probs(self, network: Network, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """(summed log-probabilities, answer lengths in tokens), each [2, P]: chosen, rejected."""
        tokens, labels = batch.tensors["tokens"], batch.tensors["labels"]
        assert labels is not None
        nll = network(tokens=tokens, labels=labels, reduction="none")
        return -nll.sum(dim=1).view(2, -1), (labels != IGNORE_INDEX).sum(dim=1).view(2, -1)

    def loss(self, network: Network, batch: MicroBatch) -> tuple[Tensor, Sums]:
        policy, lengths = self.log_probs(network, batch)
        reference, real = batch.tensors["reference"], batch.tensors["real"]
        assert reference is not None and real is not None
        losses, metrics = dpo_loss(policy[0], policy[1], reference[:, 0], reference[:, 1], lengths, self.config)
        return (losses * real).sum(), {name: (value * real).sum() for name, value in metrics.items()}

    def measure(self, network: Network, batch: MicroBatch) -> Sums:
        loss, sums = self.loss(network, batch)
        return {**sums, "loss": loss, "weight": torch.tensor(batch.weight, dtype=torch.float64)}

    def summary(self, sums: dict[str, float]) -> dict[str, float]:
        weight = max(sums["weight"], 1.0)
        return {name: value / weight for name, value in sums.items() if name != "weight"}


def objective_of(
    job: Job, data: Data, *, vocab_size: int, token_bytes: Tensor | None, device: torch.device
) -> Objective:
    """How a job learns from the training files of `data`, or is measured on them.

    Args:
        token_bytes: int64 [vocab_size], see `load_token_bytes`.
    """
    special = job.special_tokens
    if job.objective == "dpo":
        assert job.dpo is not None
        return Preferences(PairRows(data.train[0], data.seq_len, special.pad), job.dpo, device)
    z_loss = job.optim.z_loss
    if job.objective == "sft":
        return NextToken(ChatRows(data.train[0], data.seq_len, special.pad), None, device, z_loss)
    if data.mixture:
        rows: TokenRows = MixedRows(data.train, data.mixture, data.seq_len, data.document_mask)
    else:
        rows = TokenRows(data.train, data.seq_len, data.document_mask)
    if job.objective == "lm":
        return NextToken(rows, token_bytes, device, z_loss)
    vocabulary = MaskTokens(vocab_size, mask=special.pad, special=frozenset([special.bos, *special.eos]))
    return MaskedToken(rows, vocabulary, job.seed, device, z_loss)


def held_out_at(data: Data, seq_len: int) -> Data:
    """What `data` holds out, to be read in rows of `seq_len` positions."""
    return data.model_copy(update={"train": data.validation, "mixture": [], "seq_len": seq_len})


def load_token_bytes(path: Path | None, vocab_size: int) -> Tensor | None:
    """int64 [vocab] of UTF-8 bytes a token, from a .npy file.

    Raises:
        ValueError: its length is not the vocabulary's.
    """
    if path is None:
        return None
    table = np.load(path, allow_pickle=False)
    if table.shape != (vocab_size,):
        raise ValueError(f"{path}: {table.shape} entries for a vocabulary of {vocab_size}")
    return torch.from_numpy(table.astype(np.int64))
