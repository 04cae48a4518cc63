import numpy as np
import pytest
import xxhash
from datasketch import MinHash

from tasks.dedup.minhash import HASH_CHUNK, band_keys, estimated_jaccard, shingles, signature, stack


def test_shingles_are_the_word_ngrams() -> None:
    assert shingles("a b c d e f g", 5) == [b"a b c d e", b"b c d e f", b"c d e f g"]
    assert shingles("ä ö ü", 2) == ["ä ö".encode(), "ö ü".encode()]


@pytest.mark.parametrize("text", ["a", "a b c d", "a b c d e"])
def test_a_text_no_longer_than_a_shingle_is_its_own_shingle(text: str) -> None:
    assert shingles(text, 5) == [text.encode()]


def test_a_text_without_words_has_no_signature() -> None:
    assert shingles("", 5) == []
    assert signature("", 5, 112, 1) is None


@pytest.mark.parametrize("n_words", [3, 30, HASH_CHUNK + 100])
def test_signature_is_datasketchs_own(n_words: int) -> None:
    text = " ".join(f"w{k * k % 977}" for k in range(n_words))
    reference = MinHash(num_perm=112, seed=1, hashfunc=xxhash.xxh32_intdigest)
    words = text.split()
    for start in range(max(len(words) - 4, 1)):
        reference.update(" ".join(words[start : start + 5]).encode())
    ours = signature(text, 5, 112, 1)
    assert ours is not None
    assert np.frombuffer(ours, "<u4").tolist() == reference.hashvalues.tolist()


def test_signature_of_a_known_text_is_pinned() -> None:
    """Stored signatures stay comparable: when this fails, the VERSION of the `signatures` stage must go up."""
    ours = signature("the quick brown fox jumps over the lazy dog", 5, 112, 1)
    assert ours is not None
    assert np.frombuffer(ours, "<u4")[:4].tolist() == PINNED_VALUES
    assert band_keys(ours, 14, 8)[:2] == PINNED_KEYS


PINNED_VALUES = [1211087180, 15245555, 420608135, 1403573584]
PINNED_KEYS = [6492495161649754227, 8301575667706366519]


def test_estimate_agrees_with_exact_jaccard_within_its_error() -> None:
    generator = np.random.default_rng(7)
    words = [f"w{k}" for k in generator.integers(0, 5000, 3000)]
    errors = []
    for changed in (0, 30, 100, 300):
        other = list(words)
        for place in generator.choice(len(words), changed, replace=False):
            other[place] = f"x{place}"
        sets = [set(shingles(" ".join(text), 5)) for text in (words, other)]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        pair = [stack([signature(" ".join(text), 5, 112, 1) or b""]) for text in (words, other)]
        errors.append(abs(float(estimated_jaccard(*pair)[0]) - exact))
    assert errors[0] == 0
    assert max(errors) < 4 * 0.048  # four standard errors at the worst similarity, 0.5


def test_bands_agree_exactly_where_their_values_do() -> None:
    base = np.arange(112, dtype="<u4")
    other = base.copy()
    other[[0, 111]] += 1
    keys, others = band_keys(base.tobytes(), 14, 8), band_keys(other.tobytes(), 14, 8)
    assert [a == b for a, b in zip(keys, others, strict=True)] == [False, *[True] * 12, False]
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_equal_values_in_different_bands_are_different_buckets() -> None:
    assert len(set(band_keys(np.zeros(112, "<u4").tobytes(), 14, 8))) == 14


def test_estimates_of_no_pairs_are_empty() -> None:
    assert estimated_jaccard(stack([]), stack([])).shape == (0,)
