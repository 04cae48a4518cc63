"""The token files: what is written is what is read, and the bytes are those of the Megatron format."""

import struct

import numpy as np
import pytest

from model.indexed import IndexedDataset, IndexedWriter, bin_path, idx_path, token_dtype


def test_documents_come_back_as_written(tmp_path):
    documents = [[1, 2, 3], [], [65535], list(range(100))]
    with IndexedWriter(tmp_path / "code/train-00000", "uint16") as writer:
        for document in documents:
            writer.add_document(document)
    dataset = IndexedDataset(tmp_path / "code/train-00000")
    assert [dataset[i].tolist() for i in range(len(dataset))] == documents
    assert dataset.document_lengths.tolist() == [3, 0, 1, 100]
    assert dataset.token_count == 104


def test_index_bytes_are_those_of_megatron(tmp_path):
    with IndexedWriter(tmp_path / "x", np.int32) as writer:
        writer.add_document([7, 8])
        writer.add_document([9])
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, 2, 3)
    expected += struct.pack("<2i", 2, 1) + struct.pack("<2q", 0, 8) + struct.pack("<3q", 0, 1, 2)
    assert idx_path(tmp_path / "x").read_bytes() == expected
    assert bin_path(tmp_path / "x").read_bytes() == struct.pack("<3i", 7, 8, 9)


def test_documents_of_several_sequences_are_understood(tmp_path):
    """Megatron's own tools write one sequence a sentence; the document index groups them."""
    bin_path(tmp_path / "m").write_bytes(struct.pack("<4H", 1, 2, 3, 4))
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 3, 3)
    index += struct.pack("<3i", 1, 2, 1) + struct.pack("<3q", 0, 2, 6) + struct.pack("<3q", 0, 2, 3)
    idx_path(tmp_path / "m").write_bytes(index)
    dataset = IndexedDataset(tmp_path / "m")
    assert dataset[1].tolist() == [2, 3]
    assert dataset.document_lengths.tolist() == [3, 1]


def test_an_id_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="do not fit"), IndexedWriter(tmp_path / "x", "uint16") as writer:
        writer.add_document([65536])
    assert not idx_path(tmp_path / "x").exists()


@pytest.mark.parametrize("damage", ["index", "ids", "magic"])
def test_torn_files_are_refused(tmp_path, damage):
    with IndexedWriter(tmp_path / "x", "uint16") as writer:
        writer.add_document([1, 2, 3])
    target = bin_path(tmp_path / "x") if damage == "ids" else idx_path(tmp_path / "x")
    content = target.read_bytes()
    target.write_bytes(b"something else" if damage == "magic" else content[:-2])
    with pytest.raises(ValueError):
        IndexedDataset(tmp_path / "x")


def test_files_of_ids_are_appended_as_they_are(tmp_path):
    np.array([1, 2, 3, 4, 5], "<u2").tofile(tmp_path / "part.bin")
    with IndexedWriter(tmp_path / "x", "uint16") as writer:
        writer.add_document([9])
        writer.add_file(tmp_path / "part.bin", [2, 0, 3])
        writer.add_document([8, 7])
    with IndexedWriter(tmp_path / "y", "uint16") as writer:
        for document in ([9], [1, 2], [], [3, 4, 5], [8, 7]):
            writer.add_document(document)
    for path in (bin_path, idx_path):
        assert path(tmp_path / "x").read_bytes() == path(tmp_path / "y").read_bytes()
    with (
        pytest.raises(ValueError, match="10 bytes; 2 documents of uint16 need 8"),
        IndexedWriter(tmp_path / "z", "uint16") as writer,
    ):
        writer.add_file(tmp_path / "part.bin", [2, 2])


def test_an_empty_file_has_no_sequences(tmp_path):
    IndexedWriter(tmp_path / "x", "uint16").close()
    assert len(IndexedDataset(tmp_path / "x")) == 0


def test_token_dtype_is_the_smallest_that_fits():
    assert token_dtype(65536) == np.uint16
    assert token_dtype(65537) == np.int32
