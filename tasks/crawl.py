"""A crawl: the WARC files in a folder, behind a glob, or named one by one.

A crawl is a set of files: neither their order nor the folder they lie in matters, and a file that is there twice (equal
name and digest) is one. What is wrong with them is said before any work begins, in one line.
"""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from infra.errors import BadInput
from infra.stage import Source
from infra.store.digests import DigestCache

WARC_SUFFIXES = (".warc.gz", ".warc")
HEAD_BYTES = 8192  # of a file looked at to tell whether it is a WARC file
_GLOB_CHARACTERS = frozenset("*?[")


def open_crawl(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], digests: DigestCache) -> Source:
    """The files of a crawl, digested.

    Args:
        where: a folder (searched with its subfolders), a glob, a WARC file, or several of these. A folder or glob takes
            what ends in `.warc.gz` or `.warc`; a file that is named is taken whatever its name.
        digests: remembers sha256 by path, size and time.

    Raises:
        BadInput: nothing is there, nothing of it is a WARC file, or a file cannot be read.
    """
    places = [where] if isinstance(where, str | os.PathLike) else list(where)
    if not places:
        raise BadInput("the crawl names no files; give a folder, a glob or WARC files (crawl.paths)")
    files = list(dict.fromkeys(file for place in places for file in _files(os.fspath(place))))
    for file in files:
        _check(file)
    return Source.of_files(files, digests)


def _files(place: str) -> list[Path]:
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(WARC_SUFFIXES))
        if not found:
            raise BadInput(
                f"{place}: no WARC file in this folder; it needs files ending in {' or '.join(WARC_SUFFIXES)}"
            )
        return found
    if _GLOB_CHARACTERS & set(place):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute patterns
        found = [file for file in matches if file.is_file() and file.name.endswith(WARC_SUFFIXES)]
        if not found:
            raise BadInput(f"{place}: no WARC file matches; it needs files ending in {' or '.join(WARC_SUFFIXES)}")
        return found
    raise BadInput(f"{place}: no such file or folder; check crawl.paths")


def _check(file: Path) -> None:
    from tasks.extract.warc import looks_like_warc

    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    if not head:
        raise BadInput(f"{file}: the file is empty; remove it or fetch it again")
    if not looks_like_warc(head):
        raise BadInput(f"{file}: not a WARC file (it does not begin with a WARC record); remove it from the crawl")
