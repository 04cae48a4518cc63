"""Learning a byte-level BPE.

BPE is that of Sennrich et al. 2016 (section 3.2), over bytes as in GPT-2 (Radford et al. 2019, section 2.2): every
string has ids and comes back unchanged, since text is not normalised and the 256 bytes are in the vocabulary. Special
tokens are ids after the learnt ones (`tasks/encoding.py`).
"""

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tasks.encoding import SPECIALS
from tasks.split_patterns import split_regex

BYTES = 256  # the smallest vocabulary: one token a byte


def learn_bpe(
    texts: Iterable[Sequence[str]],
    vocab_size: int,
    split_pattern: str = "gpt4",
    digits: int | None = None,
    min_frequency: int = 2,
) -> Tokenizer:
    """Learn merges and append the special tokens.

    The result depends on the multiset of texts only, not on their order, batches or the number of threads.

    Args:
        texts: batches of texts; read once.
        vocab_size: ids in all, specials included.
        split_pattern: a name of `tasks/split_patterns.py`.
        digits: longest run of digits that may be one token; None: as the pattern was published.
        min_frequency: pairs rarer than this are not merged.

    Returns:
        A tokenizer of at most `vocab_size` ids: merges stop earlier when no pair occurs `min_frequency` times.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split_regex(split_pattern, digits)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIALS),
        min_frequency=min_frequency,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    return tokenizer
