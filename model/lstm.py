"""An LSTM language model, to compare transformers with at equal parameters and data.

    tokens [B, T] -> embedding -> n_layers x LSTM -> hidden [B, T, H] -> head

It has the transformer's interface for training: the same rows, losses and head. Documents packed into a row do not see
each other: each becomes a sequence of its own that starts from zeros. It is for comparisons of losses only; text is not
generated with it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from model.config import LSTMConfig
from model.precision import compute_dtype
from model.transformer import Embedding, Head


class Recurrence(nn.LSTM):
    """torch's LSTM (cuDNN on a GPU), left as allocated: `LSTM.reset_parameters` draws all weights, once."""

    def reset_parameters(self) -> None:
        """Nothing: torch would draw from the global generator here."""


class LSTM(nn.Module):
    """The language model. Weights are drawn from `seed` alone, whatever the global generator's state."""

    def __init__(self, config: LSTMConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.lstm = Recurrence(config.hidden_size, config.hidden_size, config.n_layers, batch_first=True)
        self.lm_head = Head(config.hidden_size, config.vocab_size)
        self.tie()
        if not self.lm_head.weight.is_meta:
            self.reset_parameters(torch.Generator().manual_seed(seed))

    def tie(self) -> None:
        """Make the head the embedding matrix itself, where the configuration says so."""
        if self.config.tie_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Embedding and head N(0, init_std), layers U(-1, 1) / sqrt(H), biases 0 but for the forget gate's, which is 1
        (Jozefowicz et al. 2015, section 5)."""
        size = self.config.hidden_size
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                nn.init.zeros_(parameter)
                if "bias_ih" in name:
                    parameter[size : 2 * size] = 1.0  # torch's order of gates: input, forget, cell, output
            elif name.startswith("lstm."):
                nn.init.uniform_(parameter, -(size**-0.5), size**-0.5, generator=generator)
            else:
                nn.init.normal_(parameter, std=self.config.init_std, generator=generator)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,  # noqa: ARG002  asked as a transformer is
        document_ids: Tensor | None = None,
        labels: Tensor | None = None,
        reduction: str = "sum",
        z_loss: float = 0.0,
    ) -> Any:
        """States of the last layer, or, with `labels`, the loss; as `Transformer.forward`.

        document_ids [B, T]: a run of equal ids in a row is read by itself, from a state of zeros. `positions` is taken
        and not used: an LSTM has none.
        """
        x = self.embed_tokens(tokens)
        if document_ids is None:
            hidden = self._read(x)
        else:
            order, batch_sizes = packing_order(document_ids)
            packed = PackedSequence(x.flatten(0, 1)[order], batch_sizes)
            data = self._read(packed).data
            hidden = torch.empty_like(data).index_copy(0, order, data).view(x.shape)
        return hidden if labels is None else self.lm_head(hidden, labels, reduction, z_loss)

    def _read(self, x: Any) -> Any:
        """Run the layers in the weights' own type on a CPU, which has no mixed one; a GPU's cuDNN casts by itself."""
        weight = self.lm_head.weight
        with torch.autocast(weight.device.type, enabled=weight.device.type != "cpu", dtype=compute_dtype(weight)):
            return self.lstm(x)[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 logits [..., V] of hidden states [..., H]."""
        logits: Tensor = self.lm_head(hidden)
        return logits


def packing_order(document_ids: Tensor) -> tuple[Tensor, Tensor]:
    """How torch wants sequences packed: (places in the flattened row of what stands one after another, [B T]; sequences
    that are still running at each time step, int64 on the CPU).

    A sequence is a run of equal ids [B, T] within a row; the longest comes first, and equal ones keep their order.
    """
    batch, length = document_ids.shape
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    begins = begins.flatten()
    starts = begins.nonzero()[:, 0]
    number = begins.cumsum(0) - 1
    lengths = torch.bincount(number)
    rank = torch.empty_like(lengths)
    rank[lengths.argsort(descending=True, stable=True)] = torch.arange(len(lengths), device=lengths.device)
    time = torch.arange(batch * length, device=starts.device) - starts[number]
    return (time * len(lengths) + rank[number]).argsort(), torch.bincount(time).cpu()
