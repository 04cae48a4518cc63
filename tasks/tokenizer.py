"""The tokenizer: byte-level BPE learnt from the training split, so that no held-out page shapes the vocabulary.

BPE is that of Sennrich et al. 2016 (section 3.2), over bytes as in GPT-2 (Radford et al. 2019, section 2.2): every
string has ids and comes back unchanged, since text is not normalised and the 256 bytes are in the vocabulary. Special
tokens are ids after the learnt ones (`tasks/encoding.py`). The artifact's folder loads with `AutoTokenizer`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import xxhash
from pydantic import Field
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, stage
from infra.store import Artifact
from tasks.corpus import Corpus, Label, read_labels, read_texts
from tasks.documents import part_count
from tasks.encoding import SPECIALS, TOKENIZER_FILE, Encoder, write_hf_files

SplitPattern = Literal["gpt4", "gpt4o"]

# Where merges may not cross: the patterns of cl100k_base (GPT-4) and o200k_base (GPT-4o) as published with tiktoken.
# <digits> is the longest run of digits that may become one token; both publish 3.
SPLIT_PATTERNS: dict[str, str] = {
    "gpt4": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,<digits>}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "gpt4o": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,<digits>}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
BYTES = 256  # the smallest vocabulary: one token a byte


class Vocabulary(Artifact):
    """Role: a trained tokenizer."""

    accepts = ("tokenizer",)

    @property
    def encoder(self) -> Encoder:
        """The tokenizer, loaded."""
        return Encoder.load(self.file(TOKENIZER_FILE).parent)


class TokenizerParams(Params):
    """What shapes the vocabulary."""

    vocab_size: int = Field(
        32768,
        ge=BYTES + len(SPECIALS),
        description="Ids in all, the 4 special tokens included. Fewer are learnt when the text is too small.",
    )
    split_pattern: SplitPattern = Field("gpt4", description="Where merges may not cross: gpt4 or gpt4o (tiktoken's).")
    digits: Literal[1, 2, 3] = Field(3, description="Longest run of digits that may be one token.")
    min_frequency: int = Field(2, ge=1, description="Pairs rarer than this are not merged.")
    sample_bytes: int = Field(
        1_000_000_000, ge=1, description="UTF-8 bytes of training text to learn from; more is sampled by document."
    )
    measure_bytes: int = Field(
        500_000, ge=1, description="UTF-8 bytes of each (split, domain, language) to measure bytes per token on."
    )
    seed: int = Field(0, description="Seed of the two samples.")


class Group(NamedTuple):
    """The groups that bytes per token are reported for."""

    split: str
    domain: str
    language: str


def learn_bpe(
    texts: Iterable[Sequence[str]],
    vocab_size: int,
    split_pattern: SplitPattern = "gpt4",
    digits: int = 3,
    min_frequency: int = 2,
) -> Tokenizer:
    """Learn merges and append the special tokens.

    The result depends on the multiset of texts only, not on their order, batches or the number of threads.

    Args:
        texts: batches of texts; read once.
        vocab_size: ids in all, specials included.

    Returns:
        A tokenizer of at most `vocab_size` ids: merges stop earlier when no pair occurs `min_frequency` times.
    """
    pattern = Regex(SPLIT_PATTERNS[split_pattern].replace("<digits>", str(digits)))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
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


def picked(doc_id: str, fraction: float, seed: int) -> bool:
    """Whether a document is in a sample that takes this fraction of all documents, whatever else there is."""
    return xxhash.xxh3_64_intdigest(doc_id.encode(), seed=seed) < fraction * 2.0**64


def bytes_per_token(
    measured: Mapping[Group, tuple[int, int]], totals: Mapping[Group, int]
) -> dict[str, dict[str, float]]:
    """Bytes per token by split, by domain and by language.

    Args:
        measured: group -> (UTF-8 bytes, tokens) of the sample.
        totals: group -> UTF-8 bytes of all its text, the weight of the group in a coarser one.

    Returns:
        {"split": {name: bytes a token}, "domain": …, "language": …}
    """
    result: dict[str, dict[str, float]] = {}
    for field in Group._fields:
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for group, (n_bytes, n_tokens) in measured.items():
            if n_bytes:
                entry = sums[getattr(group, field)]
                entry[0] += totals[group]
                entry[1] += totals[group] * n_tokens / n_bytes
        result[field] = {name: round(total / tokens, 4) for name, (total, tokens) in sorted(sums.items())}
    return result


def group_of(label: Label) -> Group:
    """The group that a document is measured in."""
    return Group(label.split, label.domain, label.language)


@stage("tokenizer", version=1, libraries=("tokenizers",), tables={})
def train_tokenizer(documents: Corpus, params: TokenizerParams, out: Draft) -> None:
    """Learn the vocabulary from the training split of a mix and measure it on every split.

    Raises:
        BadInput: the mix has no training text.
    """
    totals: dict[Group, int] = defaultdict(int)
    splits: dict[str, int] = defaultdict(int)
    for part in range(part_count(documents)):
        for label in read_labels(documents, part):
            totals[group_of(label)] += label.n_bytes
            splits[label.split] += 1
    train_bytes = sum(size for group, size in totals.items() if group.split == "train")
    fraction = params.sample_bytes / train_bytes if train_bytes else 0.0
    learnt = {"documents": 0, "bytes": 0}

    def training_texts() -> Iterator[list[str]]:
        for part in range(part_count(documents)):
            texts = read_texts(documents, part)
            labels = enumerate(read_labels(documents, part))
            wanted = [
                (index, label)
                for index, label in labels
                if label.split == "train" and picked(label.doc_id, fraction, params.seed)
            ]
            learnt["documents"] += len(wanted)
            learnt["bytes"] += sum(label.n_bytes for _, label in wanted)
            out.progress(part + 1, part_count(documents), f"read {learnt['bytes']:,} bytes to learn from")
            yield [texts[index].as_py() for index, _ in wanted]

    tokenizer = learn_bpe(
        training_texts(), params.vocab_size, params.split_pattern, params.digits, params.min_frequency
    )
    if not learnt["bytes"]:
        raise BadInput(
            f"{documents.ref}: no text to learn a tokenizer from: {train_bytes} bytes in its training split,"
            f" sample_bytes={params.sample_bytes}"
        )
    folder = out.path(TOKENIZER_FILE).parent
    write_hf_files(tokenizer, folder)
    encoder = Encoder.load(folder)
    out.count(
        "documents",
        sum(splits.values()),
        dropped={
            "held_out": sum(splits.values()) - splits["train"],
            "not_sampled": splits["train"] - learnt["documents"],
        },
        out=encoder.vocab_size,
        out_unit="tokens",
    )
    out.metrics["vocab_size"] = encoder.vocab_size
    out.metrics["learnt_from_bytes"] = learnt["bytes"]
    out.metrics["bytes_per_token"] = bytes_per_token(measure(encoder, documents, totals, params), totals)


def measure(
    encoder: Encoder, documents: Corpus, totals: Mapping[Group, int], params: TokenizerParams
) -> dict[Group, tuple[int, int]]:
    """group -> (UTF-8 bytes, tokens) over about `params.measure_bytes` of each group, sampled by document."""
    measured: dict[Group, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for part in range(part_count(documents)):
        texts = read_texts(documents, part)
        sample = [
            (index, label)
            for index, label in enumerate(read_labels(documents, part))
            if picked(label.doc_id, params.measure_bytes / max(totals[group_of(label)], 1), params.seed + 1)
        ]
        encoded = encoder.encode_batch([texts[index].as_py() for index, _ in sample])
        for (_, label), ids in zip(sample, encoded, strict=True):
            n_bytes, n_tokens = measured[group_of(label)]
            measured[group_of(label)] = (n_bytes + label.n_bytes, n_tokens + len(ids))
    return measured
