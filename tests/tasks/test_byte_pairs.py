"""Ranks instead of merges: what is proven gives equal ids, what is not is refused, and both engines cut alike."""

import json
from functools import lru_cache
from itertools import product

import pytest
import tiktoken
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tasks.byte_pairs import NotBytePairs, byte_alphabet, cuts_alike, join, prove, read_byte_pairs
from tasks.split_patterns import SPLIT_PATTERNS, split_regex
from tasks.tokenizer import learn_bpe
from tests.tasks.test_encoding import TEXTS

BYTES = {bytes([byte]): byte for byte in range(256)}


def spec_of(tokenizer: Tokenizer) -> dict:
    return json.loads(tokenizer.to_str())


def with_pattern(regex: str) -> dict:
    """A tokenizer.json that cuts by a pattern; what it joins does not matter."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(regex), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return spec_of(tokenizer)


def by_merges(merges: list[tuple[bytes, bytes]]) -> Tokenizer:
    """A BPE over bytes whose merges are these, without cutting."""
    spelt = {byte: character for character, byte in byte_alphabet().items()}

    def name(token: bytes) -> str:
        return "".join(spelt[byte] for byte in token)

    vocab = {name(token): number for token, number in BYTES.items()}
    for left, right in merges:
        vocab.setdefault(name(left + right), len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, [(name(left), name(right)) for left, right in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


@st.composite
def any_merges(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Merges as no trainer would list them: any two tokens there are, in any order, two ways to one token included."""
    tokens = [b"a", b"b"]
    merges: list[tuple[bytes, bytes]] = []
    for _ in range(draw(st.integers(1, 7))):
        pair = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if pair not in merges and len(pair[0] + pair[1]) <= 7:
            merges.append(pair)
            tokens = list(dict.fromkeys([*tokens, pair[0] + pair[1]]))
    return merges


@settings(max_examples=150, deadline=None, derandomize=True)
@given(any_merges())
def test_what_is_proven_gives_the_ids_of_the_merges_for_every_string(merges: list[tuple[bytes, bytes]]) -> None:
    tokenizer = by_merges(merges)
    ranks = BYTES | {
        bytes(byte_alphabet()[c] for c in name): token for name, token in tokenizer.get_vocab().items() if len(name) > 1
    }
    try:
        prove(ranks, {pair: place for place, pair in enumerate(merges)})
    except NotBytePairs:
        assume(False)
    for length in range(1, 8):
        for letters in product(b"ab", repeat=length):
            text = bytes(letters)
            assert [ranks[part] for part in join(ranks, text, 1 << 30)] == tokenizer.encode(text.decode()).ids


@pytest.mark.parametrize(
    ("merges", "reason"),
    [
        ([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")], "no merge leads to b'abc' from"),  # bc comes after ab
        ([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")], "no merge leads to b'abc' from"),
    ],
)
def test_merges_that_ranks_would_not_follow_are_refused(merges: list[tuple[bytes, bytes]], reason: str) -> None:
    tokenizer = by_merges(merges)
    ranks = {bytes(byte_alphabet()[c] for c in name): token for name, token in tokenizer.get_vocab().items()}
    assert [ranks[part] for part in join(ranks, b"abc", 1 << 30)] != tokenizer.encode("abc").ids or b"abc" in ranks
    with pytest.raises(NotBytePairs, match=reason):
        prove(ranks, {pair: place for place, pair in enumerate(merges)})


def test_ids_in_another_order_than_merges_are_refused() -> None:
    ranks = BYTES | {b"bc": 256, b"ab": 257}
    with pytest.raises(NotBytePairs, match="before a token of a lower id"):
        prove(ranks, {(b"a", b"b"): 0, (b"b", b"c"): 1})


def test_a_second_way_to_a_token_that_can_never_happen_is_allowed() -> None:
    merges = [(b"a", b"b"), (b"ab", b"c"), (b"b", b"c"), (b"a", b"bc")]
    ranks = BYTES | {b"ab": 256, b"abc": 257, b"bc": 258}
    prove(ranks, {pair: place for place, pair in enumerate(merges)})
    tokenizer = by_merges(merges)
    for letters in product(b"abc", repeat=6):
        text = bytes(letters)
        assert [ranks[part] for part in join(ranks, text, 1 << 30)] == tokenizer.encode(text.decode()).ids


@pytest.fixture(scope="module", params=sorted(SPLIT_PATTERNS))
def learnt(request: pytest.FixtureRequest) -> Tokenizer:
    return learn_bpe([TEXTS], 1500, request.param)


SPACES = st.text(alphabet=" \n\r\t\u3000\u00a0", max_size=6)
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    SPACES,
    st.sampled_from(
        ["'S", "'ll", "don't", "1234567", "the", "heap", "\u0e20\u0e32\u0e29\u0e32", "\u4f60\u597d", "_x/"]
    ),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=12))
def test_random_text_has_the_same_ids_by_ranks_and_by_merges(learnt: Tokenizer, pieces: list[str]) -> None:
    learnt.encode_special_tokens = True
    text = "".join(pieces)
    assert by_ranks(learnt.to_str()).encode_ordinary(text) == learnt.encode(text, add_special_tokens=False).ids


@lru_cache
def by_ranks(tokenizer_json: str) -> tiktoken.Encoding:
    return read_byte_pairs(json.loads(tokenizer_json)).encoding()


def test_long_runs_take_time_in_proportion_and_have_the_same_ids(learnt: Tokenizer) -> None:
    encoding = by_ranks(learnt.to_str())
    for run in ("a" * 50_000, " " * 50_000, "\n" * 50_000, "\u4f60\u597d" * 10_000, "^" * 50_000):
        assert encoding.encode_ordinary(run) == learnt.encode(run, add_special_tokens=False).ids


def test_gpt2s_own_way_to_cut_is_known() -> None:
    tokenizer = learn_bpe([TEXTS], 800, "gpt2")
    ours = read_byte_pairs(spec_of(tokenizer))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    assert read_byte_pairs(spec_of(tokenizer)) == ours


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: setattr(t, "normalizer", normalizers.NFC()), "normalised first"),
        (lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.Whitespace()), "cut by Whitespace"),
        (lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)), "cut by ByteLevel"),
        (lambda t: t.add_tokens([AddedToken("heap", special=False)]), "found in text: 'heap'"),
        (lambda t: setattr(t, "model", models.WordLevel({"a": 0}, "a")), "WordLevel"),
        (lambda t: setattr(t, "model", models.BPE({"a": 0}, [])), "256 bytes"),
        (lambda t: setattr(t, "model", models.BPE({"\u2581a": 0}, [])), "alphabet of bytes"),
        (lambda t: setattr(t.model, "dropout", 0.1), "dropout"),
    ],
)
def test_what_is_not_a_plain_byte_level_bpe_is_refused_by_name(change, reason: str) -> None:
    tokenizer = learn_bpe([TEXTS[:2]], 400)
    tokenizer.decoder = decoders.ByteLevel()
    change(tokenizer)
    with pytest.raises(NotBytePairs, match=reason):
        read_byte_pairs(spec_of(tokenizer))


@pytest.mark.parametrize("regex", sorted({split_regex(name) for name in SPLIT_PATTERNS}))
def test_both_engines_cut_by_the_named_patterns_alike(regex: str) -> None:
    assert cuts_alike(with_pattern(regex), regex, every=311) is None


@pytest.mark.slow
@pytest.mark.parametrize("regex", sorted({split_regex(name) for name in SPLIT_PATTERNS}))
def test_both_engines_cut_by_the_named_patterns_alike_at_every_character(regex: str) -> None:
    assert cuts_alike(with_pattern(regex), regex) is None


@pytest.mark.slow
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_both_engines_cut_alike_for_all_runs_of_digits(digits: int) -> None:
    for regex in sorted({split_regex(name, digits) for name in SPLIT_PATTERNS}):
        assert cuts_alike(with_pattern(regex), regex, every=64) is None


def test_a_pattern_that_cuts_differently_is_found() -> None:
    for theirs, ours in [("gpt4", "gpt4o"), ("gpt2", "gpt4"), ("qwen2", "qwen3_5"), ("gpt4", "qwen2")]:
        assert cuts_alike(with_pattern(split_regex(theirs)), split_regex(ours), every=512) is not None
    assert cuts_alike(with_pattern(r"\p{L}+|\P{L}+"), r"\p{L}+|\P{L}", every=512) is not None
    assert "U+00A0" in str(cuts_alike(with_pattern(r"\s+|\S+"), r"[ \t-\r]+|[^ \t-\r]+", every=512))
