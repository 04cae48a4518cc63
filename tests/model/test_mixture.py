"""Mixtures: shares kept at every step, no row twice or missed, the same for any world size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batching import micro_batches, sample_rows, share_of_rank
from model.data import MixedRows, TokenRows
from model.indexed import IndexedDataset, IndexedWriter
from model.job import Data
from model.mixture import MOST_SAMPLES_IN_A_PERIOD, DomainShare, Mixture, drawn_rows, schedule, whole_parts

SMALL_WEIGHTS = st.lists(st.integers(1, 60), min_size=1, max_size=9)


def mixture(*domains: tuple[str, int, float]) -> Mixture:
    """Of (name, rows, weight)."""
    shares = [DomainShare(name=name, files=1, weight=weight) for name, _, weight in domains]
    return Mixture.of(shares, [size for _, size, _ in domains])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SMALL_WEIGHTS)
def test_after_any_number_of_samples_each_domain_is_within_one_of_its_share(weights: list[int]) -> None:
    parts = whole_parts(weights)
    order, earlier = schedule(parts)
    n, shares = np.arange(1, len(order) + 1), np.array(weights) / sum(weights)
    for domain, share in enumerate(shares):
        had = np.cumsum(order == domain)
        assert np.abs(had - n * share).max() < 1
        assert had[-1] == parts[domain]  # so the next period begins as the first one did
        assert (earlier[order == domain] == np.arange(parts[domain])).all()


def test_uneven_weights_are_within_one_of_their_share_too() -> None:
    for weights in ([0.5, 0.25, 0.17, 0.08], [1, 1, 1], [0.9, *[0.0125] * 8], [2.5, 0.1]):
        order, _ = schedule(whole_parts(weights))
        n = np.arange(1, len(order) + 1)
        for domain, weight in enumerate(weights):
            assert np.abs(np.cumsum(order == domain) - n * weight / sum(weights)).max() < 1


def test_no_weight_is_too_small_for_a_part() -> None:
    parts = whole_parts([5e12, 400.0])
    assert parts[1] == 1 and parts[0] > 10_000
    order, _ = schedule(parts)
    assert (order == 1).sum() == 1


def test_weights_become_the_smallest_exact_integers_or_rounded_ones() -> None:
    assert whole_parts([0.5, 0.25, 0.17, 0.08]) == (50, 25, 17, 8)
    assert whole_parts([3, 3, 3]) == (1, 1, 1)
    assert whole_parts([7.0]) == (1,)
    rounded = whole_parts([np.pi, np.e, 1e-9])
    assert rounded[2] == 1 and sum(rounded) == pytest.approx(MOST_SAMPLES_IN_A_PERIOD, abs=2)
    assert rounded[0] / sum(rounded) == pytest.approx(np.pi / (np.pi + np.e), abs=2e-5)


def test_the_order_is_fixed_for_ever() -> None:
    """A changed value here silently changes what every run of the same version is trained on."""
    mixed = mixture(("a", 3, 0.5), ("b", 5, 0.3), ("c", 2, 0.2))
    assert schedule(mixed.parts)[0].tolist() == [0, 1, 0, 2, 0, 1, 0, 2, 0, 1]
    assert mixed.rows(0, 12, seed=0).tolist() == GOLDEN


GOLDEN = [2, 4, 1, 9, 0, 7, 0, 8, 2, 5, 1, 3]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=5),
    st.integers(0, 2**63),
    st.integers(1, 3),
)
def test_each_epoch_of_a_domain_shows_each_of_its_rows_once(sizes, seed: int, epochs: int) -> None:
    mixed = mixture(*((f"d{k}", size, weight) for k, (size, weight) in enumerate(sizes)))
    n = 0
    while (mixed.draws(n) < epochs * np.array(mixed.sizes)).any():
        n += 1
    rows, start = mixed.rows(0, n, seed), 0
    for size in mixed.sizes:
        mine = rows[(rows >= start) & (rows < start + size)] - start
        for epoch in range(len(mine) // size):
            assert sorted(mine[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))
        rest = mine[len(mine) // size * size :]
        assert len(set(rest.tolist())) == len(rest)
        start += size


def test_rows_do_not_depend_on_how_they_are_asked_for() -> None:
    mixed = mixture(("a", 30, 0.61), ("b", 7, 0.39))
    whole = mixed.rows(0, 500, seed=5)
    pieces = [mixed.rows(first, 20, seed=5) for first in range(0, 500, 20)]
    assert np.concatenate(pieces).tolist() == whole.tolist()
    assert whole.tolist() != mixed.rows(0, 500, seed=6).tolist()
    far = 10**12  # as cheap as the first ones
    assert mixed.rows(far, 40, 5)[20:].tolist() == mixed.rows(far + 20, 20, 5).tolist()


def test_a_domains_order_depends_on_its_name_and_not_on_the_others() -> None:
    def rows_of_b(*domains: tuple[str, int, float]) -> list[int]:
        mixed = mixture(*domains)
        start = sum(size for (name, *_), size in zip(domains, mixed.sizes, strict=True) if name < "b")
        rows = mixed.rows(0, 4 * sum(mixed.parts) * 20, seed=3)
        return (rows[(rows >= start) & (rows < start + 20)] - start)[:20].tolist()

    alone = rows_of_b(("b", 20, 1))
    assert rows_of_b(("a", 9, 3), ("b", 20, 1)) == alone
    assert rows_of_b(("b", 20, 5), ("c", 9, 1)) == alone
    assert [row % 20 for row in mixture(("c", 20, 1)).rows(0, 20, 3).tolist()] != alone


@pytest.mark.parametrize("source", [41, mixture(("a", 17, 2), ("b", 24, 1))])
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_interrupted_anywhere_on_any_number_of_ranks_no_sample_comes_twice_or_is_missed(source, data) -> None:
    """The state is one integer: the samples consumed. Each attempt has its own world size and micro-batch."""
    batch, steps, seen, step = 6, 20, [], 0
    while step < steps:
        world, micro = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
        stop = data.draw(st.integers(step + 1, steps))
        while step < stop:
            rows = drawn_rows(step * batch, batch, source, seed=9)
            shares = [share_of_rank(rows, rank, world, micro) for rank in range(world)]
            assert {len(share) for share in shares} == {micro_batches(batch, world, micro)[1]}
            shown = [row for share in shares for part in share for row in part if row is not None]
            assert sorted(shown) == sorted(rows.tolist())
            seen += rows.tolist()
            step += 1
    uninterrupted = drawn_rows(0, batch * steps, source, seed=9).tolist()
    assert seen == uninterrupted


def test_without_a_mixture_rows_are_those_of_before() -> None:
    assert drawn_rows(7, 30, 12, 3).tolist() == sample_rows(7, 30, 12, 3).tolist()


def write(prefix, documents):
    with IndexedWriter(prefix, "uint16") as writer:
        for document in documents:
            writer.add_document(document)
    return prefix


def test_mixed_rows_are_each_domains_own(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    files = [
        write(tmp_path / name, [[base, *rng.integers(base, base + 100, rng.integers(3, 20))] for _ in range(30)])
        for name, base in (("a0", 0), ("a1", 0), ("b0", 1000))
    ]
    shares = [DomainShare(name="a", files=2, weight=1), DomainShare(name="b", files=1, weight=3)]
    opened = []
    read_index = IndexedDataset.__init__
    monkeypatch.setattr(IndexedDataset, "__init__", lambda self, at: (opened.append(at), read_index(self, at))[1])
    rows = MixedRows(files, shares, seq_len=8)
    assert opened == files  # each once
    a, b = TokenRows(files[:2], 8), TokenRows(files[2:], 8)
    assert len(rows) == len(a) + len(b) == len(rows.mixture)
    for number in range(len(rows)):
        own = a[number] if number < len(a) else b[number - len(a)]
        assert rows[number].tokens.tolist() == own.tokens.tolist()
        assert rows[number].labels.tolist() == own.labels.tolist()
        assert rows[number].document_ids.tolist() == own.document_ids.tolist()
    shown = [rows[row] for row in rows.mixture.rows(0, 40, seed=1)]
    assert sum(row.tokens[0] >= 1000 for row in shown) == 30


def test_a_mixture_of_other_files_or_of_nothing_is_refused(tmp_path) -> None:
    files = [write(tmp_path / "a", [[1, 2, 3, 4, 5]]), write(tmp_path / "b", [[1, 2]])]
    share = DomainShare(name="a", files=1, weight=1)
    with pytest.raises(ValueError, match="of 1 files, not of 2"):
        MixedRows(files, [share], seq_len=4)
    with pytest.raises(ValueError, match="domain b of the mixture does not fill one row"):
        MixedRows(files, [share, share.model_copy(update={"name": "b"})], seq_len=4)
    with pytest.raises(ValueError, match="at least one domain"):
        Mixture.of([], [])
    with pytest.raises(ValueError, match="greater than 0"):
        DomainShare(name="a", files=1, weight=0)


def test_a_job_without_a_mixture_reads_as_before() -> None:
    assert Data.model_validate({"train": ["a"], "seq_len": 8}).mixture == []
