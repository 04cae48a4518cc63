"""The order of training: nothing lost, nothing twice, and the same for any world size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.batching import micro_batches, pack_best_fit, permute, sample_rows, share_of_rank, validation_sample

GOLDEN = [6, 4, 2, 9, 8, 1, 0, 5, 3, 7]


@given(n=st.integers(1, 3000), seed=st.integers(0, 2**63), epoch=st.integers(0, 1000))
def test_permute_is_a_permutation(n, seed, epoch):
    assert sorted(permute(np.arange(n), n, seed, epoch).tolist()) == list(range(n))


def test_permutations_differ_by_epoch_and_seed_and_are_fixed_for_ever():
    """A changed value here silently changes what every run of the same version is trained on."""
    assert permute(np.arange(10), 10, 0, 0).tolist() == GOLDEN
    assert permute(np.arange(10), 10, 0, 1).tolist() != GOLDEN
    assert permute(np.arange(10), 10, 1, 0).tolist() != GOLDEN


def test_a_permutation_looks_shuffled():
    """Serial correlation of a random permutation of n is about N(0, 1/n); five sigmas."""
    n = 10_000
    order = permute(np.arange(n), n, seed=3, epoch=0)
    for lag in (1, 2, 16, 100):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 5 / n**0.5
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 5 / n**0.5


def test_validation_rows_are_spread_over_what_is_held_out():
    """Held-out rows lie domain by domain: the first ones would be of one domain."""
    rows = validation_sample(1000, 64)
    assert rows.tolist() == sorted(set(rows.tolist())) and len(rows) == 64
    assert all(((rows >= first) & (rows < first + 250)).sum() >= 8 for first in (0, 250, 500, 750))
    assert validation_sample(10, 64).tolist() == validation_sample(10, None).tolist() == list(range(10))
    assert validation_sample(0, 64).tolist() == []


def test_every_epoch_shows_every_row_once():
    rows = sample_rows(0, 30, 10, seed=5)
    assert [sorted(rows[start : start + 10].tolist()) for start in (0, 10, 20)] == [list(range(10))] * 3
    assert rows[:10].tolist() != rows[10:20].tolist()


def test_samples_do_not_depend_on_how_they_are_asked_for():
    whole = sample_rows(0, 64, 11, seed=5)
    assert np.concatenate([sample_rows(first, 8, 11, seed=5) for first in range(0, 64, 8)]).tolist() == whole.tolist()


@given(rows=st.integers(1, 40), world_size=st.integers(1, 5), micro=st.integers(1, 9))
def test_ranks_share_the_global_batch(rows, world_size, micro):
    shares = [share_of_rank(np.arange(rows), rank, world_size, micro) for rank in range(world_size)]
    assert sorted(row for share in shares for batch in share for row in batch if row is not None) == list(range(rows))
    micro_size, count = micro_batches(rows, world_size, micro)
    assert {(len(share), len(batch)) for share in shares for batch in share} == {(count, micro_size)}


@given(st.lists(st.integers(0, 20), max_size=60))
def test_packing_keeps_every_item_within_capacity(lengths):
    bins = pack_best_fit(lengths, 20)
    assert sorted(item for members in bins for item in members) == [i for i, n in enumerate(lengths) if n]
    assert all(sum(lengths[item] for item in members) <= 20 for members in bins)
    if lengths:  # two bins that are at most half full would have become one
        half_full = [members for members in bins if sum(lengths[i] for i in members) <= 10]
        assert len(half_full) <= 1


def test_packing_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        pack_best_fit([3, 21], 20)
