"""N-gram baselines: what counting alone reaches on the tokens that a model was trained on.

Unigram, bigram and trigram models, each interpolated with the next shorter one after Witten and Bell 1991 (method C;
in the recursive form of Chen and Goodman 1998, section 2.4, equation 8):

    P(w | h) = (c(h, w) + T(h) P(w | h')) / (c(h) + T(h))

where c counts in the training stream, T(h) is the number of distinct tokens seen after h, and h' is h without its
first token. The recursion ends with the uniform distribution over the vocabulary, so every token has a probability and
they sum to 1. A context never seen says nothing: P(w | h) = P(w | h').

Nothing is estimated by sampling and nothing is iterated: counting is sorting, and looking up is a binary search.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infra.errors import BadInput

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MODELS = ("unigram", "bigram", "trigram")  # by length of context: 0, 1, 2


@dataclass(frozen=True)
class Counts:
    """Counts of one order n. A sequence of k tokens is one number: its digits in base `vocab_size`.

    Attributes:
        sequences: int64[S], ascending: the distinct n-token sequences.
        counts: int64[S], how often each occurs.
        contexts: int64[H], ascending: the distinct (n - 1)-token contexts.
        totals: int64[H], c(h): tokens seen after each context.
        types: int64[H], T(h): distinct tokens seen after each context.
    """

    sequences: Ids
    counts: Ids
    contexts: Ids
    totals: Ids
    types: Ids


def sequence_numbers(ids: npt.NDArray[np.integer], n: int, vocab_size: int) -> Ids:
    """The number of each run of n tokens: int64[len(ids) - n + 1], in order; empty when there is none."""
    length = max(len(ids) - n + 1, 0)
    numbers = np.zeros(length, dtype=np.int64)
    for offset in range(n):
        numbers *= vocab_size
        numbers += ids[offset : offset + length]
    return numbers


def count_ngrams(ids: npt.NDArray[np.integer], n: int, vocab_size: int) -> Counts:
    """Count the runs of n tokens of a stream, int[N]. Takes about 24 bytes a token while it runs."""
    numbers = sequence_numbers(ids, n, vocab_size)
    numbers.sort()
    sequences, counts = _runs(numbers)
    contexts, types = _runs(sequences // vocab_size)
    firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(types)])[:-1]
    totals = np.add.reduceat(counts, firsts) if len(counts) else counts
    return Counts(sequences, counts, contexts, totals, types)


def interpolate(counts: Counts, sequences: Ids, vocab_size: int, shorter: Floats) -> Floats:
    """P(w | h) of each sequence (h, w).

    Args:
        counts: of this order.
        sequences: int64[M], numbers of n-token sequences, any order, repeats allowed.
        shorter: float64[M], P(w | h') of each.

    Returns:
        float64[M].
    """
    seen = _look_up(counts.sequences, counts.counts, sequences)
    contexts = sequences // vocab_size
    totals = _look_up(counts.contexts, counts.totals, contexts)
    types = _look_up(counts.contexts, counts.types, contexts)
    known = totals > 0
    denominator = np.where(known, totals + types, 1)
    return np.where(known, (seen + types * shorter) / denominator, shorter)


def ngram_log2_probabilities(
    train_ids: npt.NDArray[np.integer], valid_ids: npt.NDArray[np.integer], vocab_size: int
) -> dict[str, Floats]:
    """log2 of the probability that each model gives each validation token after the tokens before it.

    The first tokens of the stream have shorter contexts and are scored by the shorter models.

    Args:
        train_ids: int[N], the training stream, documents one after the other with their end tokens.
        valid_ids: int[M], the validation stream.
        vocab_size: every id is below it; its cube must fit in 63 bits.

    Returns:
        {"unigram", "bigram", "trigram"}: float64[M].

    Raises:
        BadInput: an id is outside the vocabulary, or the training stream is empty.
    """
    if not len(train_ids):
        raise BadInput("n-gram baselines need training tokens; there are none")
    if vocab_size**3 >= 2**63:
        raise BadInput(f"n-gram baselines: a vocabulary of {vocab_size} ids is too large to number its trigrams")
    for name, ids in (("training", train_ids), ("validation", valid_ids)):
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
            raise BadInput(
                f"{name} ids lie in [{ids.min()}, {ids.max()}], outside a vocabulary of {vocab_size}: other tokenizer?"
            )
    result: dict[str, Floats] = {}
    probabilities = np.full(len(valid_ids), 1.0 / vocab_size)
    for n, name in enumerate(MODELS, start=1):
        sequences = sequence_numbers(valid_ids, n, vocab_size)
        scored = len(valid_ids) - len(sequences)  # tokens before the first full context keep the shorter model's
        longer = interpolate(count_ngrams(train_ids, n, vocab_size), sequences, vocab_size, probabilities[scored:])
        probabilities = np.concatenate([probabilities[:scored], longer])
        result[name] = np.log2(probabilities)
    return result


def ngram_bits_per_byte(
    train_ids: npt.NDArray[np.integer], valid_ids: npt.NDArray[np.integer], vocab_size: int, n_bytes: int
) -> dict[str, float]:
    """Bits per byte of the three models on a validation stream; see `ngram_log2_probabilities`.

    Args:
        n_bytes: UTF-8 bytes of the validation text, the same number that the model's bits per byte is divided by.

    Raises:
        BadInput: as there, or `n_bytes` is not positive.
    """
    if n_bytes <= 0:
        raise BadInput(f"bits per byte over {n_bytes} bytes: the validation text is empty")
    scores = ngram_log2_probabilities(train_ids, valid_ids, vocab_size)
    return {name: float(-log2.sum() / n_bytes) for name, log2 in scores.items()}


def _runs(numbers: Ids) -> tuple[Ids, Ids]:
    """Distinct values of an ascending array, and how often each occurs."""
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(numbers), 1), bool), numbers[1:] != numbers[:-1]]))
    lengths = np.diff(np.append(starts, len(numbers)))
    return numbers[starts], lengths.astype(np.int64)


def _look_up(keys: Ids, values: Ids, wanted: Ids) -> Ids:
    """values[i] where keys[i] == wanted, else 0. `keys` ascend."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
