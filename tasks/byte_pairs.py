"""A byte-level BPE as ranks of byte strings, and the proof that ranks alone give the ids of its merges.

A `tokenizer.json` of this kind says: cut the text by a pattern, then join pairs of tokens in the order of a list of
merges. `tiktoken` knows no list: it joins two neighbours whenever their bytes together are a token, the lowest id
first, and takes a whole piece that is a token as it is. It is several times faster, and mostly right. Here is decided
when it is always right.

Write enc_n(x) for the ids that the merges of tokens below n make of the bytes x. `prove` checks for each token t that
enc_t(t) is exactly two tokens l, r, that (l, r) is in the list of merges, and that these places rise with the ids.

Then both give the same ids for every text. Suppose they part for the first time in some state of a piece. Whatever
can be joined to a token below t has been joined, and one of the two joins neighbours l', r' to t where the other does
not, since (l', r') is not the pair (l, r). No join so far has crossed the borders of l' and r', so their bytes alone
would have come to the same state: enc_t(t) = l', r'. But enc_t(t) = l, r. That a whole piece t becomes t follows from
enc_t(t) = l, r and the merge (l, r). What a list of merges holds beyond one pair a token can by the same argument never
happen (trainers leave such pairs where two ways lead to the same bytes).

The pattern is run by two engines, Oniguruma and fancy-regex. That they cut alike is tested for the named patterns over
all assigned characters (`tests/tasks/test_byte_pairs.py`), and for others when a tokenizer is imported (`cuts_alike`).
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasks.split_patterns import split_regex

if TYPE_CHECKING:
    import tiktoken

# Strings that show on which side of a border a character falls.
CONTEXTS = ("a%sa", "1%s1", " %s ", ".%s.", "\n%s\n", "'%s", "%s%s", " %sa", "a%s ", "'s%s", "%s\na", "a\n%s")
NEIGHBOURS = "a1 .\n's"
CHARACTERS_AT_ONCE = 2048
DENSE = 0x3000  # below it the kind of character changes often …
DENSER = 64  # … so that many times more of them are tried
UNASSIGNED = 16  # of characters without a meaning yet, which are most, every 16th


class NotBytePairs(ValueError):
    """Why a tokenizer.json cannot be encoded by ranks."""


@dataclass(frozen=True)
class BytePairs:
    """`ranks`: bytes of each ordinary token -> its id. `pattern`: cuts a text into pieces that no token crosses."""

    pattern: str
    ranks: dict[bytes, int]

    def encoding(self) -> "tiktoken.Encoding":
        """The encoder. It knows no special tokens of ours, so none can come out of it."""
        import tiktoken

        return tiktoken.Encoding(
            "sluice", pat_str=self.pattern, mergeable_ranks=self.ranks, special_tokens=NEVER_ALLOWED
        )


# tiktoken searches texts for its special tokens even where none is allowed, and an empty list is "found" at every
# place; so it gets one, which `Encoder` never allows.
NEVER_ALLOWED = {"<|never allowed|>": 0xFFFF_FFF0}


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """Character -> byte: how a byte-level vocabulary is spelt (GPT-2's `bytes_to_unicode`).

    A printable Latin-1 character stands for itself, the other bytes for U+0100, U+0101 … in their order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def read_byte_pairs(spec: Mapping[str, Any], proven: bool = False) -> BytePairs:
    """Ranks and pattern of a parsed `tokenizer.json`.

    Args:
        proven: `prove` has accepted it before (it takes a second for 100,000 tokens).

    Raises:
        NotBytePairs: it is something else than a byte-level BPE over text as it is, or `prove` refuses it.
    """
    model = spec["model"]
    if model.get("type") != "BPE":
        raise NotBytePairs(f"the model is {model.get('type')}, not BPE")
    if spec.get("normalizer") is not None:
        raise NotBytePairs(f"text is normalised first ({spec['normalizer'].get('type')})")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise NotBytePairs(f"the model has a {name}")
    ordinary = [token["content"] for token in spec.get("added_tokens", []) if not token.get("special")]
    if ordinary:
        raise NotBytePairs(f"added tokens are found in text: {ordinary[0]!r}")
    special = {token["content"] for token in spec.get("added_tokens", [])}
    alphabet = byte_alphabet()
    ranks: dict[bytes, int] = {}
    for name, token in model["vocab"].items():
        if name in special:
            continue
        try:
            ranks[bytes(alphabet[character] for character in name)] = token
        except KeyError:
            raise NotBytePairs(f"{name!r} is not spelt in the alphabet of bytes") from None
    if not all(bytes([byte]) in ranks for byte in range(256)):
        raise NotBytePairs("not all 256 bytes are in the vocabulary")
    if not proven:
        prove(ranks, _merges(model["merges"]))
    return BytePairs(_pattern(spec.get("pre_tokenizer")), ranks)


def prove(ranks: Mapping[bytes, int], merges: Mapping[tuple[bytes, bytes], int]) -> None:
    """See the head of this file.

    Args:
        ranks: bytes of a token -> id.
        merges: pair -> its place in the list of merges.

    Raises:
        NotBytePairs: ids by ranks and ids by merges may differ; the message names a token.
    """
    place = -1
    for token in sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__):
        parts = join(ranks, token, ranks[token])
        if len(parts) != 2 or (parts[0], parts[1]) not in merges:
            raise NotBytePairs(f"no merge leads to {token!r} from {parts}")
        before, place = place, merges[parts[0], parts[1]]
        if place <= before:
            raise NotBytePairs(f"{token!r} is merged before a token of a lower id")


def join(ranks: Mapping[bytes, int], text: bytes, below: int) -> list[bytes]:
    """The tokens that joining by ranks makes of bytes, with the tokens below an id only."""
    parts = [text[place : place + 1] for place in range(len(text))]
    while True:
        best, at = below, -1
        for place in range(len(parts) - 1):
            rank = ranks.get(parts[place] + parts[place + 1], below)
            if rank < best:
                best, at = rank, place
        if at < 0:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def _merges(listed: list[Any]) -> dict[tuple[bytes, bytes], int]:
    alphabet = byte_alphabet()
    merges = {}
    for place, entry in enumerate(listed):
        left, right = entry.split(" ") if isinstance(entry, str) else entry  # older files write "l r"
        try:
            pair = bytes(alphabet[c] for c in left), bytes(alphabet[c] for c in right)
        except KeyError:
            raise NotBytePairs(f"the merge {entry!r} is not spelt in the alphabet of bytes") from None
        merges[pair] = place
    return merges


def _pattern(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """The pattern of `ByteLevel` by itself, or of `Split` before a `ByteLevel` without one."""
    steps = (pre_tokenizer or {}).get("pretokenizers") or [pre_tokenizer or {}]
    kinds = [step.get("type") for step in steps]
    if kinds and kinds[-1] == "ByteLevel" and not steps[-1].get("add_prefix_space"):
        if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
            return split_regex("gpt2")  # what `ByteLevel` cuts by
        if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
            split = steps[0]
            pattern = split["pattern"].get("Regex")
            # A piece that the pattern does not match would be a piece of its own here, and left out by tiktoken.
            if pattern and split["behavior"] == "Isolated" and not split.get("invert"):
                return str(pattern)
    raise NotBytePairs(f"text is cut by {' and '.join(map(str, kinds))} in a way that is not known here")


def cuts_alike(spec: Mapping[str, Any], pattern: str, every: int = 1) -> str | None:
    """Whether both engines cut by a pattern in the same places: None, or the first character where they do not.

    A vocabulary is made in which each pair of neighbouring bytes that a border may lie between is a token, so that
    every border shows in the ids; each assigned character is tried in each of `CONTEXTS`.

    Args:
        spec: the tokenizer.json, for its `pre_tokenizer`.
        every: try each n-th character only, and more of those below U+3000.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    spelt = {byte: character for character, byte in byte_alphabet().items()}
    pairs = list(dict.fromkeys(_border_pairs()))
    vocab = {spelt[byte]: byte for byte in range(256)}
    vocab |= {spelt[left] + spelt[right]: 256 + place for place, (left, right) in enumerate(pairs)}
    theirs = Tokenizer(BPE(vocab, [(spelt[left], spelt[right]) for left, right in pairs]))
    theirs.pre_tokenizer = _load_pre_tokenizer(spec)
    ranks = {bytes(byte_alphabet()[c] for c in name): token for name, token in vocab.items()}
    ours = BytePairs(pattern, ranks).encoding()
    codes = [*range(0, DENSE, max(1, every // DENSER)), *range(DENSE, 0x110000, every)]
    kinds = ((code, unicodedata.category(chr(code))) for code in codes)
    characters = [
        chr(code) for code, kind in kinds if kind not in ("Cs", "Co") and (kind != "Cn" or code % UNASSIGNED == 0)
    ]
    for start in range(0, len(characters), CHARACTERS_AT_ONCE):
        some = characters[start : start + CHARACTERS_AT_ONCE]
        for context in CONTEXTS:
            if not _equal(theirs, ours, "\x01".join(context.replace("%s", c) for c in some)):
                for c in some:
                    if not _equal(theirs, ours, context.replace("%s", c)):
                        return f"U+{ord(c):04X} in {context!r}"
                return f"a string of characters from U+{ord(some[0]):04X}"
    return None


def _equal(theirs: Any, ours: "tiktoken.Encoding", text: str) -> bool:
    return bool(theirs.encode(text, add_special_tokens=False).ids == ours.encode(text, disallowed_special=()))


def _border_pairs() -> Iterator[tuple[int, int]]:
    yield from ((left, right) for left in range(0x80, 0xC0) for right in range(0xC2, 0xF5))  # two characters of UTF-8
    for neighbour in NEIGHBOURS.encode():
        yield from ((neighbour, byte) for byte in range(256))
        yield from ((byte, neighbour) for byte in range(256))


def _load_pre_tokenizer(spec: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer

    empty = {"type": "BPE", "vocab": {}, "merges": []}
    whole = {"version": "1.0", "added_tokens": [], "pre_tokenizer": spec["pre_tokenizer"], "model": empty}
    return Tokenizer.from_str(json.dumps(whole)).pre_tokenizer
