"""Masked tokens, BERT's objective (Devlin et al. 2019, section 3.1), on the same rows that next tokens are learnt from.

Of each row, 15 % of the tokens are to be predicted. Of these 80 % are shown as a mask, 10 % as another token, 10 % as
they are. Which, and as what, is a function of (seed, step, row, position) alone: it is the same at any world size, and
for a resumed run; validation has step 0 always.

There is no token for the mask in our vocabularies; the padding token, which rows of text never hold, stands for it.
The separator that ends one document is the first token of the next (see `model.data`), and is never masked: it is what
BERT's [CLS] is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.batching import mix_bits
from model.data import ChatRows, TokenRows, stack_rows
from model.losses import IGNORE_INDEX

PREDICTED = 0.15
SHOWN_AS_MASK = 0.8
SHOWN_AS_ANOTHER = 0.1

UInt64 = npt.NDArray[np.uint64]
_STREAMS = 3  # independent draws a position: whether, how, and as which token
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment


@dataclass(frozen=True)
class MaskTokens:
    """What the masking has to know of a vocabulary."""

    vocab_size: int
    mask: int
    """Shown in place of a token."""
    special: frozenset[int]
    """Never predicted, and never shown in place of another."""

    @cached_property
    def words(self) -> npt.NDArray[np.int64]:
        """Tokens that may be shown in place of another."""
        return np.array(sorted(set(range(self.vocab_size)) - self.special - {self.mask}), dtype=np.int64)


def mask_row(
    tokens: npt.NDArray[np.int64], row: int, step: int, seed: int, vocabulary: MaskTokens
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(what is shown, labels) of one row's tokens [T]; labels are `IGNORE_INDEX` where nothing is predicted.

    Each token is drawn by itself, as transformers' collator does, so that a row's share of labels varies around 15 %.
    """
    whether, how, which = _draws(seed, step, row, len(tokens))
    predicted = (_unit(whether) < PREDICTED) & ~np.isin(tokens, [*vocabulary.special, vocabulary.mask])
    choice = _unit(how)
    masked = predicted & (choice < SHOWN_AS_MASK)
    replaced = predicted & (choice >= SHOWN_AS_MASK) & (choice < SHOWN_AS_MASK + SHOWN_AS_ANOTHER)
    shown = np.where(masked, vocabulary.mask, tokens)
    words = vocabulary.words
    shown[replaced] = words[(which[replaced] % np.uint64(len(words))).astype(np.int64)]
    return shown, np.where(predicted, tokens, IGNORE_INDEX)


def stack_masked(
    source: TokenRows | ChatRows, rows: Sequence[int | None], step: int, seed: int, vocabulary: MaskTokens
) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens as shown, labels, document_ids), each [B, T] int64; None gives a row without labels."""
    tokens, _, documents = stack_rows(source, rows)
    labels = torch.full_like(tokens, IGNORE_INDEX)
    for place, row in enumerate(rows):
        if row is not None:
            shown, wanted = mask_row(tokens[place].numpy(), row, step, seed, vocabulary)
            tokens[place], labels[place] = torch.from_numpy(shown), torch.from_numpy(wanted)
    return tokens, labels, documents


def _draws(seed: int, step: int, row: int, length: int) -> UInt64:
    """[_STREAMS, length] 64-bit numbers: SplitMix64 from a state that (seed, step, row) give."""
    state = np.zeros(1, np.uint64)
    for part in (seed, step, row):
        state = mix_bits(state + _GOLDEN + np.uint64(part))
    places = np.arange(1, _STREAMS * length + 1, dtype=np.uint64)
    return mix_bits(state + places * _GOLDEN).reshape(_STREAMS, length)


def _unit(draws: UInt64) -> npt.NDArray[np.float64]:
    """Uniform in [0, 1), from the upper 53 bits."""
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
