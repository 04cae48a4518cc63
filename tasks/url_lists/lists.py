"""Lists of domains and addresses as sorted hashes: compiled once, memory-mapped by every process, asked by bisection.

A key (entries.py) is kept as its 64-bit hash, 8 bytes, beside the number of its list, 1 byte: 4.5 million domains are
40 MB of file, shared between the processes of a machine and touched page by page. An address that is listed is always
found. One that is not is taken for listed with a probability of (keys asked x entries) / 2^64: about 10^-12 at 4.5
million entries, once in a crawl of a million million pages.

A key in several lists belongs to the first of them: in the order of `categories`, by name if they were not given.

Files of the artifact:

    hashes.u64       XXH64, seed 0, of the keys' UTF-8 bytes; ascending, distinct, little-endian
    list_ids.u8      which list each is of (list_ids.u16 for more than 256 lists)
    lists.json       names of the lists by number, entries of each, and what lookups must ask (entries.Shape)
"""

import gzip
import json
import mmap
import sys
import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import xxhash

from infra.errors import BadInput
from infra.store import Artifact
from tasks.filters.url import ascii_host, split_url
from tasks.url_lists.entries import BadLine, Shape, lookup_keys, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator

HASHES, META = "hashes.u64", "lists.json"
IDS = {1: "list_ids.u8", 2: "list_ids.u16"}  # bytes of a number -> file
MAX_LISTS = 1 << 16
BUILTIN = Path(__file__).with_name("builtin")


class UrlListsArtifact(Artifact):
    """Role: compiled URL lists."""

    accepts = ("url-lists",)


class UrlMatch(NamedTuple):
    """Which list names an address, and by which entry (in its normal form)."""

    list: str
    entry: str


class UrlLists:
    """Compiled lists, to be asked. Make one with `open`, `open_folder` or `of_lines`."""

    def __init__(self, meta: Mapping[str, Any], hashes: Sequence[int], ids: Sequence[int]) -> None:
        self.names: tuple[str, ...] = tuple(meta["lists"])
        self.entries: dict[str, int] = dict(meta["entries"])
        self._shape = Shape(**meta["shape"])
        self._hashes = hashes
        self._ids = ids

    def __len__(self) -> int:
        return len(self._hashes)

    def __bool__(self) -> bool:
        return True  # lists without an entry are still lists

    @classmethod
    def open(cls, artifact: Artifact) -> "UrlLists":
        """The lists of an artifact; mapped once a process, however often it is opened.

        Raises:
            BadInput: the artifact holds no lists.
        """
        return cls.open_folder(artifact.file(META).parent)

    @classmethod
    def open_folder(cls, folder: Path) -> "UrlLists":
        """The lists in a folder that `CompiledLists.write` filled; mapped once a process."""
        return _opened(folder.absolute())

    @classmethod
    def of_lines(cls, lists: Mapping[str, Iterable[str]]) -> "UrlLists":
        """Small lists in memory: name -> lines. The first list to name a key has it."""
        compiler = Compiler(list(lists))
        for name, lines in lists.items():
            compiler.add(name, (line.encode() for line in lines))
        compiled = compiler.compiled()
        return cls(compiled.meta, array("Q", compiled.hashes.tolist()), array("H", compiled.ids.tolist()))

    def find(self, url: str) -> str | None:
        """The list that names an address; None: none does, or it has no host."""
        match = self.match(url)
        return match.list if match else None

    def match(self, url: str) -> UrlMatch | None:
        """The list that names an address, and the entry; the first found in the order of `entries.lookup_keys`."""
        parts = split_url(url)
        if parts is None:
            return None
        hashes = self._hashes
        n = len(hashes)
        for key in lookup_keys(parts, self._shape):
            value = xxhash.xxh64_intdigest(key.encode("utf-8", "surrogatepass"))
            at = bisect_left(hashes, value)
            if at < n and hashes[at] == value:
                return UrlMatch(self.names[self._ids[at]], key)
        return None


@lru_cache(maxsize=8)
def _opened(folder: Path) -> UrlLists:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: no compiled URL lists ({error})") from error
    n = sum(meta["entries"].values())
    width = 1 if (folder / IDS[1]).is_file() else 2
    hashes = _mapped(folder / HASHES, 8 * n).cast("Q")
    if sys.byteorder == "big":  # no machine we know of; correct there, if not small
        swapped = array("Q", hashes)
        swapped.byteswap()
        hashes = memoryview(swapped)
    return UrlLists(meta, hashes, _mapped(folder / IDS[width], width * n).cast("B" if width == 1 else "H"))


def _mapped(path: Path, n_bytes: int) -> memoryview:
    if path.stat().st_size != n_bytes:
        raise BadInput(f"{path}: {path.stat().st_size:,} bytes, not {n_bytes:,}; `sluice verify` checks the artifact")
    if not n_bytes:  # an empty file cannot be mapped
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@lru_cache(maxsize=1)
def builtin_lists() -> UrlLists:
    """The lists of `builtin/`: a few dozen well-known hosts each, named `builtin/<category>`."""
    files = sorted(BUILTIN.glob("*.txt"))
    return UrlLists.of_lines({f"builtin/{file.stem}": file.read_text("utf-8").splitlines() for file in files})


# --- Compiling -------------------------------------------------------------------------------------------------------


@dataclass
class CompiledLists:
    """Sorted distinct hashes with the number of their list, and the account of the lines."""

    hashes: Any  # numpy uint64, ascending
    ids: Any  # numpy uint8 or uint16
    meta: dict[str, Any]
    lines: int
    dropped: Counter[str] = field(default_factory=Counter)

    def write(self, folder: Path) -> None:
        """Write the files that `UrlLists.open_folder` reads; `folder` exists."""
        self.hashes.astype("<u8", copy=False).tofile(folder / HASHES)
        width = self.ids.dtype.itemsize
        self.ids.astype(f"<u{width}", copy=False).tofile(folder / IDS[width])
        text = json.dumps(self.meta, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        (folder / META).write_text(text, encoding="utf-8")


class Compiler:
    """Takes the lines of lists and makes hashes of them. About 20 bytes of memory a line.

    Args:
        names: the lists in the order of precedence.

    Raises:
        BadInput: more lists than two bytes can number.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) > MAX_LISTS:
            raise BadInput(f"{len(names):,} URL lists; {MAX_LISTS:,} is the most")
        self._numbers = {name: number for number, name in enumerate(names)}
        self._hashes: list[array[int]] = [array("Q") for _ in names]
        self._dropped: Counter[str] = Counter()
        self._lines = 0
        self._shape = Shape()
        self._suffixes = public_suffixes()

    def add(self, name: str, lines: Iterable[bytes], *, hosts_only: bool = False) -> None:
        """Add lines to a list; those that name nothing are counted by reason."""
        hashes = self._hashes[self._numbers[name]]
        suffixes, dropped, digest = self._suffixes, self._dropped, xxhash.xxh64_intdigest
        n = 0
        for line in lines:
            n += 1
            entry = parse_line(line, suffixes, hosts_only=hosts_only)
            if isinstance(entry, BadLine):
                dropped[entry.reason] += 1
                continue
            hashes.append(digest(entry.key.encode("utf-8", "surrogatepass")))
            if entry.depth >= 0 or entry.is_top_label:
                self._shape = self._shape.with_entry(entry)
        self._lines += n

    def add_file(self, name: str, path: Path, *, hosts_only: bool = False) -> None:
        """Add the lines of a file, plain or gzip.

        Raises:
            BadInput: it cannot be read to its end.
        """
        try:
            with _lines_of(path) as stream:
                self.add(name, stream, hosts_only=hosts_only)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{path}: cannot be read ({error}); fetch the list again") from error

    def compiled(self) -> CompiledLists:
        """What was added, sorted; a key that came twice is in its first list, and counted as `repeated`."""
        import numpy as np

        width = np.uint8 if len(self._numbers) <= 1 << 8 else np.uint16
        sizes = [len(hashes) for hashes in self._hashes]
        every = np.concatenate(
            [np.frombuffer(hashes, np.uint64) for hashes in self._hashes] or [np.empty(0, np.uint64)]
        )
        numbers = np.repeat(np.arange(len(sizes), dtype=width), sizes)
        hashes, first = np.unique(every, return_index=True)  # the first of equals: the order of precedence
        ids = numbers[first]
        dropped = Counter(self._dropped)
        dropped["repeated"] = len(every) - len(hashes)
        counts = np.bincount(ids, minlength=len(sizes))
        meta = {
            "entries": {name: int(counts[number]) for name, number in self._numbers.items()},
            "lists": list(self._numbers),
            "shape": self._shape._asdict(),
        }
        return CompiledLists(hashes, ids, meta, self._lines, dropped)


@contextmanager
def _lines_of(path: Path) -> "Iterator[IO[bytes]]":
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
        else:
            with gzip.open(raw, "rb") as unpacked:
                yield unpacked  # type: ignore[misc]


@lru_cache(maxsize=1)
def public_suffixes() -> frozenset[str]:
    """The public suffixes in the snapshot that tldextract ships, in ASCII (never the network)."""
    import tldextract

    return frozenset(map(ascii_host, tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None).tlds))
