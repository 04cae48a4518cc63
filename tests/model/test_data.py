"""The loader: nothing lost, nothing twice, and an order that no world size changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data import (
    MASK_SUFFIX,
    ChatRows,
    PairRows,
    TokenRows,
    micro_batches,
    pack_best_fit,
    permute,
    sample_rows,
    share_of_rank,
    stack_rows,
)
from model.indexed import IndexedWriter
from model.losses import IGNORE_INDEX

GOLDEN = [6, 4, 2, 9, 8, 1, 0, 5, 3, 7]


def write(prefix, documents, dtype="uint16"):
    with IndexedWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add_document(document)
    return prefix


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


def test_rows_cover_the_stream_across_files(tmp_path):
    first = [[1, 2, 3, 0], [4, 5, 0]]
    second = [[6, 0], [7, 8, 9, 10, 0]]
    rows = TokenRows([write(tmp_path / "a", first), write(tmp_path / "b", second)], seq_len=4)
    stream = [token for document in first + second for token in document]
    assert len(rows) == (len(stream) - 1) // 4
    for number in range(len(rows)):
        row = rows[number]
        assert row.tokens.tolist() == stream[4 * number : 4 * number + 4]
        assert row.labels.tolist() == stream[4 * number + 1 : 4 * number + 5]


def test_a_position_belongs_to_the_document_of_its_label(tmp_path):
    rows = TokenRows([write(tmp_path / "a", [[1, 2, 0], [3, 0], [4, 5, 6, 0]])], seq_len=8)
    row = rows[0]
    assert row.tokens.tolist() == [1, 2, 0, 3, 0, 4, 5, 6]
    assert row.labels.tolist() == [2, 0, 3, 0, 4, 5, 6, 0]
    assert row.document_ids.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_empty_documents_and_files_are_passed_over(tmp_path):
    files = [write(tmp_path / "a", [[], [1, 2, 0]]), write(tmp_path / "b", []), write(tmp_path / "c", [[3, 0], []])]
    row = TokenRows(files, seq_len=4)[0]
    assert row.labels.tolist() == [2, 0, 3, 0]
    assert row.document_ids.tolist() == [0, 0, 1, 1]


def test_without_document_mask_a_row_is_one_document(tmp_path):
    row = TokenRows([write(tmp_path / "a", [[1, 0], [2, 0], [3, 0]])], seq_len=4, document_mask=False)[0]
    assert row.document_ids.tolist() == [0, 0, 0, 0]


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


def chats(tmp_path, sequences):
    prefix = write(tmp_path / "chat", [ids for ids, _ in sequences])
    write(tmp_path / f"chat{MASK_SUFFIX}", [mask for _, mask in sequences], "uint8")
    return prefix


def test_chat_rows_hold_labels_of_the_assistant_only(tmp_path):
    prefix = chats(tmp_path, [([1, 2, 3, 4], [0, 0, 1, 1]), ([5, 6], [0, 1])])
    rows = ChatRows(prefix, seq_len=6, pad_id=99)
    assert len(rows) == 1
    row = rows[0]
    assert row.tokens.tolist() == [1, 2, 3, 5, 99, 99]
    assert row.labels.tolist() == [IGNORE_INDEX, 3, 4, 6, IGNORE_INDEX, IGNORE_INDEX]
    assert row.document_ids.tolist() == [0, 0, 0, 1, 2, 2]
    assert rows.used == [4]


def test_a_chat_longer_than_a_row_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not fit"):
        ChatRows(chats(tmp_path, [([1] * 8, [1] * 8)]), seq_len=6, pad_id=0)


def test_pairs_are_padded_to_the_longest_side(tmp_path):
    sequences = [([1, 2, 3], [0, 1, 1]), ([1, 4], [0, 1]), ([5, 6], [0, 1]), ([5, 7, 8, 9], [0, 1, 1, 1])]
    pairs = PairRows(chats(tmp_path, sequences), seq_len=8, pad_id=0)
    tokens, labels = pairs.batch([1, None, 0])
    assert tokens.tolist() == [[5, 0, 0], [0, 0, 0], [1, 2, 0], [5, 7, 8], [0, 0, 0], [1, 0, 0]]
    nothing = IGNORE_INDEX
    assert labels.tolist() == [
        [6, nothing, nothing],
        [nothing] * 3,
        [2, 3, nothing],
        [7, 8, 9],
        [nothing] * 3,
        [4, nothing, nothing],
    ]


def test_stacked_rows_are_tensors_with_blanks(tmp_path):
    rows = TokenRows([write(tmp_path / "a", [[1, 2, 3, 4, 5]])], seq_len=2)
    tokens, labels, documents = stack_rows(rows, [1, None])
    assert tokens.tolist() == [[3, 4], [0, 0]]
    assert labels.tolist() == [[4, 5], [IGNORE_INDEX, IGNORE_INDEX]]
    assert documents.shape == (2, 2)
