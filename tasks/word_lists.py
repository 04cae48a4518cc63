"""`word-lists`: lists of words and phrases that `measure` looks for, as the user's files have them.

One file a list, its name without extension the list's (LDNOOBW's `en` is the list `en`), one entry a line, UTF-8; what
an entry means: `tasks/filters/wordlists.py`. The lists become an artifact, so that what was measured with them says so.
"""

import json
from functools import lru_cache
from pathlib import Path

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Source, stage
from infra.store import Artifact
from tasks.filters.wordlists import WordLists, parse_list

FILE = "lists.json"


class WordListsParams(Params):
    """Nothing to choose: the files are the lists."""


class WordListsArtifact(Artifact):
    """Role: lists of words and phrases."""

    accepts = ("word-lists",)


@stage("word-lists", version=1)
def word_lists(lists: Source, params: WordListsParams, out: Draft) -> None:  # noqa: ARG001  nothing to choose
    """Read lists of words and phrases, one file a list."""
    entries: dict[str, list[str]] = {}
    n_lines = 0
    for file in lists.files:
        try:
            text = Path(file.path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadInput(f"word list {file.path} is not UTF-8 text: byte {error.start} does not fit") from error
        n_lines += len(text.splitlines())
        entries.setdefault(list_name(file.name), []).extend(parse_list(text))
    kept = sum(map(len, entries.values()))
    if not kept:
        raise BadInput("the word lists hold no entry; each is a text file with one word or phrase a line")
    out.path(FILE).write_text(json.dumps(entries, ensure_ascii=False, indent=0, sort_keys=True), encoding="utf-8")
    out.count("lines", n_lines, dropped={"blank_or_comment": n_lines - kept}, out=kept, out_unit="entries")
    out.metrics["lists"] = {name: len(entries[name]) for name in sorted(entries)}


def list_name(file: str) -> str:
    """The name of the list that a file holds."""
    return Path(file).stem


def open_word_lists(artifact: Artifact) -> WordLists:
    """The lists of a `word-lists` artifact, read once a process."""
    return _opened(artifact.file(FILE))


@lru_cache(maxsize=4)
def _opened(path: Path) -> WordLists:
    return WordLists.of(json.loads(path.read_text(encoding="utf-8")))
