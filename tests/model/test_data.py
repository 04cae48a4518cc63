"""Rows: what the network is shown, token by token."""

import pytest

from model.data import (
    ChatRows,
    PairRows,
    TokenRows,
    stack_rows,
)
from model.indexed import MASK_SUFFIX, IndexedWriter
from model.losses import IGNORE_INDEX


def write(prefix, documents, dtype="uint16"):
    with IndexedWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add_document(document)
    return prefix


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
