"""The files of category lists in a folder, as a stage's source."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.errors import BadInput
from infra.stage import Source
from infra.stage.source import local_file
from infra.store.digests import DigestCache

LIST_FILES = ("domains", "urls", "domains.gz", "urls.gz")
FLAT_SUFFIXES = (".txt", ".txt.gz")
NO_LISTS = frozenset({"readme", "license", "licence", "copying"})  # what lies beside lists in an archive


def open_url_lists(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    digests: DigestCache,
    categories: Sequence[str] = (),
) -> Source:
    """The list files in folders, digested; each is named by its category and its file.

    A folder is searched for `<category>/domains` and `<category>/urls` (or `.gz`), as UT1 packs them, at any depth, and
    for `<category>.txt` (or `.txt.gz`) in itself. Other files (expressions, usage notes) and linked folders (UT1's
    second names of a category) are passed over.

    Args:
        where: a folder, a `.txt` file, or several of these.
        categories: take only these; empty: all.

    Raises:
        BadInput: nothing is there, or a category is not.
    """
    places = [where] if isinstance(where, str | os.PathLike) else list(where)
    named = [pair for place in places for pair in _files(Path(place).expanduser())]
    there = sorted({category_of(name) for name, _ in named})
    missing = [category for category in categories if category not in there]
    if missing:
        raise BadInput(f"URL lists: no category {missing[0]!r}; there are {', '.join(there)}")
    entries = [
        local_file(path, digests).model_copy(update={"name": name})
        for name, path in named
        if not categories or category_of(name) in categories
    ]
    digests.save()
    return Source.of_inputs(entries)


def category_of(name: str) -> str:
    """The list that a file of the source belongs to: `adult/domains` and `adult.txt` are both of `adult`."""
    folder, slash, file = name.rpartition("/")
    return folder if slash else file.removesuffix(".gz").removesuffix(".txt")


def names_hosts_only(name: str) -> bool:
    """Whether a bare host in this file names itself alone: in UT1's files called `urls`."""
    return name.endswith(("/urls", "/urls.gz"))


def _files(place: Path) -> list[tuple[str, Path]]:
    if place.is_file():
        return [(_name(place), place)]
    if not place.is_dir():
        raise BadInput(f"{place}: no such folder of URL lists; check url_lists")
    found = [(f"{file.parent.name}/{file.name}", file) for file in place.rglob("*") if file.name in LIST_FILES]
    found += [(file.name, file) for file in place.iterdir() if file.name.endswith(FLAT_SUFFIXES)]
    found = [(name, file) for name, file in found if file.is_file() and category_of(name).lower() not in NO_LISTS]
    if not found:
        raise BadInput(f"{place}: no URL lists; a list is a file <category>/domains, <category>/urls or <category>.txt")
    return sorted(found)


def _name(file: Path) -> str:
    return f"{file.absolute().parent.name}/{file.name}" if file.name in LIST_FILES else file.name
