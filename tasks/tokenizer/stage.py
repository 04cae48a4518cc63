"""The `tokenizer` stage: a vocabulary, learnt from the training split so that no held-out page shapes it, or imported.

Either way it is measured: bytes per token by split, domain and language, on text of every split. The artifact's folder
loads with `AutoTokenizer`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

import xxhash
from pydantic import Field, field_validator, model_validator
from tokenizers import Tokenizer

from infra.errors import BadConfig, BadInput
from infra.params import Params
from infra.stage import Draft, Source, stage
from infra.store import Artifact
from tasks.corpus import Corpus, Label, read_labels, read_texts
from tasks.documents import part_count
from tasks.encoding import SPECIALS, TOKENIZER_FILE, Encoder, write_encoder_choice, write_hf_files
from tasks.export import MODEL
from tasks.split_patterns import ALIASES
from tasks.tokenizer.imported import import_tokenizer
from tasks.tokenizer.learn import BYTES, learn_bpe

Pattern = Literal["gpt2", "gpt4", "gpt4o", "llama3", "qwen2", "qwen3_5"]
COMPARED_BYTES = 1_000_000  # of the corpus that both programs encode before one may stand in for the other


class Vocabulary(Artifact):
    """Role: a tokenizer, by itself or that of an imported model."""

    accepts = ("tokenizer", "imported-model")

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.file(self._name).parent

    @property
    def encoder(self) -> Encoder:
        """The tokenizer, loaded."""
        return Encoder.load(self.folder)

    def same_as(self, other: "Vocabulary") -> bool:
        """Whether both give the same ids to the same text, by their files."""
        if self.ref == other.ref:
            return True
        mine, theirs = (one._files[one._name].sha256 for one in (self, other))
        return mine == theirs and self.encoder.names == other.encoder.names

    @property
    def _name(self) -> str:
        return f"{MODEL if self.stage == 'imported-model' else ''}{TOKENIZER_FILE}"


def vocabulary_of(artifact: Artifact) -> Vocabulary:
    """What fills the role `tokenizer` beside tokens or a model: what it was made with; an imported one has its own."""
    if artifact.stage in Vocabulary.accepts:
        return Vocabulary(artifact.store, artifact.manifest)
    by = "tokenizer" if "tokenizer" in artifact.manifest.parents else "model"
    return vocabulary_of(artifact.parent(by))


class TokenizerParams(Params):
    """What shapes the vocabulary. Of an imported tokenizer only the last four count."""

    vocab_size: int = Field(
        32768,
        ge=BYTES + len(SPECIALS),
        description="Ids in all, the 4 special tokens included. Fewer are learnt when the text is too small. Above"
        " 65,536 a token takes 4 bytes on disk, else 2.",
    )
    split_pattern: Pattern = Field(
        "gpt4",
        description="Where merges may not cross, as published: gpt2, gpt4 (cl100k), gpt4o (o200k: keeps words with"
        " combining marks whole), llama3, qwen2, qwen3_5.",
    )
    digits: Literal[1, 2, 3] | None = Field(
        None, description="Longest run of digits that may be one token; empty: as the pattern was published (gpt4: 3)."
    )
    min_frequency: int = Field(2, ge=1, description="Pairs rarer than this are not merged.")
    sample_bytes: int = Field(
        1_000_000_000, ge=1, description="UTF-8 bytes of training text to learn from; more is sampled by document."
    )
    measure_bytes: int = Field(
        500_000, ge=1, description="UTF-8 bytes of each (split, domain, language) to measure bytes per token on."
    )
    seed: int = Field(0, description="Seed of the two samples.")
    end_of_text: str | None = Field(
        None, description="The token that an imported tokenizer ends a text with; empty: the one known for its family."
    )
    pad: str | None = Field(
        None, description="The token that an imported tokenizer pads with; empty: <|pad|>, added where it lacks it."
    )

    @field_validator("split_pattern", mode="before")
    @classmethod
    def _by_one_name(cls, name: object) -> object:
        return ALIASES.get(name, name) if isinstance(name, str) else name

    @model_validator(mode="after")
    def _two_tokens(self) -> Self:
        if self.pad is not None and self.pad == self.end_of_text:
            raise ValueError("pad and end_of_text must be two tokens, or a model would never learn to end a text")
        return self


class Group(NamedTuple):
    """The groups that bytes per token are reported for."""

    split: str
    domain: str
    language: str


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


@stage("tokenizer", version=4, libraries=("tokenizers",), tables={})
def train_tokenizer(documents: Corpus, file: Source | None, params: TokenizerParams, out: Draft) -> None:
    """Learn the vocabulary from the training split of a mix, or take that of a `tokenizer.json`, and measure it.

    Raises:
        BadInput: the mix has no training text; the file cannot be used (see `imported.py`).
        BadConfig: names of special tokens without a file.
    """
    totals: dict[Group, int] = defaultdict(int)
    splits: dict[str, int] = defaultdict(int)
    for part in range(part_count(documents)):
        for label in read_labels(documents, part):
            totals[group_of(label)] += label.n_bytes
            splits[label.split] += 1
    folder = out.path(TOKENIZER_FILE).parent
    n_documents = sum(splits.values())
    if file is None:
        if params.end_of_text is not None or params.pad is not None:
            raise BadConfig("tokenizer.end_of_text and .pad name tokens of an imported tokenizer: give its file")
        tokenizer, learnt = learn_from(documents, totals, params, out)
        write_hf_files(tokenizer, folder)
        dropped = {"held_out": n_documents - splits["train"], "not_sampled": splits["train"] - learnt["documents"]}
        out.metrics["learnt_from_bytes"] = learnt["bytes"]
    else:
        if len(file.files) != 1:
            raise BadInput(f"a tokenizer is one file, its tokenizer.json; {len(file.files)} were given")
        (source,) = file.files
        with file.part(source, 0, source.bytes).open() as data:
            content = bytes(data[0 : source.bytes])
        tokenizer, names = import_tokenizer(content, source.name, params.end_of_text, params.pad)
        write_hf_files(tokenizer, folder, names)
        dropped = {"not_learnt_from": n_documents}
    encoder = Encoder.load(folder)
    out.count("documents", n_documents, dropped=dropped, out=encoder.vocab_size, out_unit="tokens")
    out.metrics["vocab_size"] = encoder.vocab_size
    out.metrics["bytes_per_token"] = bytes_per_token(measure(encoder, documents, totals, params), totals)
    out.metrics |= compare(folder, encoder, documents, totals, params)


def learn_from(
    documents: Corpus, totals: Mapping[Group, int], params: TokenizerParams, out: Draft
) -> tuple[Tokenizer, dict[str, int]]:
    """Learn from a sample of the training split.

    Returns:
        The tokenizer, and {"documents", "bytes"} that it was learnt from.
    """
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
    return tokenizer, learnt


def sampled_texts(
    documents: Corpus, totals: Mapping[Group, int], params: TokenizerParams
) -> Iterator[tuple[list[Label], list[str]]]:
    """(labels, texts) part by part, of about `params.measure_bytes` of each group, sampled by document."""
    for part in range(part_count(documents)):
        texts = read_texts(documents, part)
        sample = [
            (index, label)
            for index, label in enumerate(read_labels(documents, part))
            if picked(label.doc_id, params.measure_bytes / max(totals[group_of(label)], 1), params.seed + 1)
        ]
        yield [label for _, label in sample], [texts[index].as_py() for index, _ in sample]


def measure(
    encoder: Encoder, documents: Corpus, totals: Mapping[Group, int], params: TokenizerParams
) -> dict[Group, tuple[int, int]]:
    """group -> (UTF-8 bytes, tokens) of the sample."""
    measured: dict[Group, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for labels, texts in sampled_texts(documents, totals, params):
        for label, ids in zip(labels, encoder.encode_documents(texts), strict=True):
            n_bytes, n_tokens = measured[group_of(label)]
            measured[group_of(label)] = (n_bytes + label.n_bytes, n_tokens + len(ids))
    return measured


def compare(
    folder: Path, encoder: Encoder, documents: Corpus, totals: Mapping[Group, int], params: TokenizerParams
) -> dict[str, str | int | float]:
    """What the manifest says of encoding, on up to `COMPARED_BYTES` of the sample.

    Where tiktoken stands in for the merges, the merges' ids are computed too; should they differ in spite of the proof
    (a bug in one of the two programs), the folder is rewritten to say so. `round_trip`: share of the texts that come
    back from their ids as they were, 1 for every byte-level tokenizer.
    """
    proven = encoder.fast is not None
    merges = Encoder(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), encoder.names)
    n_bytes = n_texts = n_same = 0
    for _, texts in sampled_texts(documents, totals, params):
        for text in texts:
            if n_bytes >= COMPARED_BYTES:
                break
            ids = encoder.encode(text)
            if encoder.fast is not None and merges.encode(text) != ids:
                write_encoder_choice(folder, f"ids differ from those of the merges in a text of {len(text)} characters")
                proven = False
            n_bytes += len(text.encode())
            n_texts += 1
            n_same += encoder.decode(ids) == text
    return {
        "encoder": "tiktoken" if proven else "tokenizers",
        "compared_bytes": n_bytes,
        "round_trip": round(n_same / max(n_texts, 1), 6),
    }
