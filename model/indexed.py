"""Token files in Megatron-LM's indexed format: `<prefix>.bin` holds ids, `<prefix>.idx` says where each sequence lies.

The format is that of Megatron-LM (`megatron/core/datasets/indexed_dataset.py`), so its tools read our files and we
read theirs. All numbers are little-endian:

    magic               9 bytes   b"MMIDIDX\\0\\0"
    version             uint64    1
    dtype code          uint8     see DTYPES (8 = uint16, 4 = int32)
    sequence count      uint64    S
    document count      uint64    D + 1: the length of the document index
    sequence lengths    int32[S]  in tokens
    sequence pointers   int64[S]  byte offset of each sequence in the .bin file
    document index      int64[D+1]  document d is the sequences [index[d], index[d+1])

Files written here hold one sequence a document, one after the other; files read here may hold several.
"""

import os
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
MASK_SUFFIX = "-mask"  # <prefix>-mask.bin/.idx hold a 0/1 for each id of <prefix>: 1 = learn to write this token
HEADER = struct.Struct("<QBQQ")  # after the magic: version, dtype code, sequences, document index entries
DTYPES: dict[int, np.dtype] = {
    1: np.dtype(np.uint8),
    2: np.dtype(np.int8),
    3: np.dtype("<i2"),
    4: np.dtype("<i4"),
    5: np.dtype("<i8"),
    6: np.dtype("<f8"),
    7: np.dtype("<f4"),
    8: np.dtype("<u2"),
}
COPIED_AT_ONCE = 4 << 20  # bytes
CODES = {dtype: code for code, dtype in DTYPES.items()}


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest dtype that holds every id below `vocab_size`: uint16 up to 65,536 ids, else int32.

    The format has no uint32; what Megatron writes for a large vocabulary is int32 too.
    """
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<i4")


def bin_path(prefix: Path | str) -> Path:
    """The ids' file of a prefix; a prefix may itself hold dots."""
    return Path(f"{prefix}.bin")


def idx_path(prefix: Path | str) -> Path:
    """The index file of a prefix."""
    return Path(f"{prefix}.idx")


class IndexedWriter:
    """Writes one document after another; the index is written by `close()`, last, so a torn file has none.

    Use it as a context manager: leaving the block normally closes it, leaving it by an exception writes no index.
    """

    def __init__(self, prefix: Path | str, dtype: npt.DTypeLike) -> None:
        self.prefix = Path(prefix)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype not in CODES:
            raise ValueError(f"{self.dtype} has no code in the Megatron format; use one of {list(map(str, CODES))}")
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        self._lengths: list[int] = []
        self._document_index: list[int] = [0]
        idx_path(self.prefix).unlink(missing_ok=True)
        self._bin = bin_path(self.prefix).open("wb")

    def add_document(self, tokens: npt.ArrayLike | Iterable[int]) -> None:
        """Append one document of one sequence; `tokens` is one-dimensional, [n] with n >= 0.

        Raises ValueError when an id does not fit the dtype (a silent wrap would train on wrong ids).
        """
        given = np.asarray(tokens)
        if given.ndim != 1:
            raise ValueError(f"a document is one-dimensional, got shape {given.shape}")
        stored = given.astype(self.dtype)
        if given.size and not np.array_equal(stored, given):
            raise ValueError(f"{self.prefix}: values in [{given.min()}, {given.max()}] do not fit {self.dtype}")
        self._bin.write(stored.tobytes())
        self._lengths.append(int(stored.size))
        self._document_index.append(len(self._lengths))

    def add_file(self, path: Path | str, lengths: npt.ArrayLike) -> None:
        """Append documents whose ids lie one after another in a file, in this writer's dtype.

        Args:
            lengths: tokens of each document, [n].

        Raises:
            ValueError: the file is longer or shorter than they say.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        wanted, size = int(sizes.sum()) * self.dtype.itemsize, Path(path).stat().st_size
        if size != wanted:
            raise ValueError(f"{path} has {size} bytes; {len(sizes)} documents of {self.dtype} need {wanted}")
        with Path(path).open("rb") as file:
            shutil.copyfileobj(file, self._bin, COPIED_AT_ONCE)
        first = len(self._lengths)
        self._lengths.extend(sizes.tolist())
        self._document_index.extend(range(first + 1, len(self._lengths) + 1))

    def close(self) -> None:
        """Flush the ids and write the index."""
        self._bin.flush()
        os.fsync(self._bin.fileno())
        self._bin.close()
        lengths = np.asarray(self._lengths, dtype="<i4")
        ends = np.cumsum(lengths, dtype="<i8") * self.dtype.itemsize
        pointers = np.concatenate([np.zeros(1, "<i8"), ends[:-1]]) if len(lengths) else np.zeros(0, "<i8")
        final = idx_path(self.prefix)
        partial = final.with_name(final.name + ".tmp")
        with partial.open("wb") as file:
            file.write(MAGIC)
            file.write(HEADER.pack(VERSION, CODES[self.dtype], len(lengths), len(self._document_index)))
            file.write(lengths.tobytes())
            file.write(pointers.astype("<i8").tobytes())
            file.write(np.asarray(self._document_index, dtype="<i8").tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._bin.close()


class IndexedDataset:
    """Reads a pair of files through memory maps: opening costs the index only, whatever the size of the ids.

    `lengths` int32[S] and `starts` int64[S] are in tokens; `document_index` int64[D+1] counts sequences;
    `tokens` is the whole .bin as a one-dimensional map.
    """

    def __init__(self, prefix: Path | str) -> None:
        self.prefix = Path(prefix)
        index = idx_path(prefix).read_bytes()
        head = len(MAGIC) + HEADER.size
        if len(index) < head or not index.startswith(MAGIC):
            raise ValueError(f"{idx_path(prefix)} is not a Megatron index (no MMIDIDX header)")
        version, code, sequences, entries = HEADER.unpack_from(index, len(MAGIC))
        if version != VERSION or code not in DTYPES:
            raise ValueError(f"{idx_path(prefix)}: version {version}, dtype code {code}; understood: version {VERSION}")
        if len(index) < head + 12 * sequences + 8 * entries:
            raise ValueError(
                f"{idx_path(prefix)} is cut short: {sequences} sequences need more than {len(index)} bytes"
            )
        self.dtype = DTYPES[code]
        self.lengths = np.frombuffer(index, "<i4", sequences, head)
        pointers = np.frombuffer(index, "<i8", sequences, head + 4 * sequences)
        self.document_index = np.frombuffer(index, "<i8", entries, head + 12 * sequences)
        if np.any(pointers % self.dtype.itemsize):
            raise ValueError(f"{idx_path(prefix)}: a pointer is not a multiple of the token size {self.dtype.itemsize}")
        self.starts = pointers // self.dtype.itemsize
        size = bin_path(prefix).stat().st_size
        self.tokens: npt.NDArray = (
            np.memmap(bin_path(prefix), dtype=self.dtype, mode="r") if size else np.zeros(0, self.dtype)
        )
        if sequences and int((self.starts + self.lengths).max()) > len(self.tokens):
            raise ValueError(f"{bin_path(prefix)} is shorter than its index says ({len(self.tokens)} tokens)")

    def __len__(self) -> int:
        """The number of sequences."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> npt.NDArray:
        """Sequence `index`, a view [length] of the map."""
        start = int(self.starts[index])
        return self.tokens[start : start + int(self.lengths[index])]

    @property
    def token_count(self) -> int:
        """Tokens of all sequences."""
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def document_lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, int64[D]."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths, dtype=np.int64)])
        return np.diff(ends[self.document_index])
