"""Listed words and phrases in a text: a few of our own that spam is made of, and lists that the user gives.

Text and entries are cut into runs of letters, digits, underscores and the marks that go with them, in lower case; an
entry is found where its runs follow one another, whatever stands between them. So words count as wholes ("Scunthorpe"
holds no shorter word), and punctuation hides nothing ("bang-bang" is "bang bang"). Entries in a script that puts no
spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are looked for anywhere in the text, as C4 does for
ja, th and zh. Every place where an entry begins counts, and each of several that begin there.

Most texts hold no entry at all: an automaton (RE2) screens them, and only what it lets through is cut into runs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import regex

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("spam_terms", pa.int32()),  # different entries of spam_terms.txt
    # Of the user's lists; null without any.
    pa.field("word_list_hits", pa.int32()),
    pa.field("word_list_terms", pa.int32()),  # different entries
    pa.field("word_list", pa.string()),  # the list with the most hits (the first by name); null without hits
)

SPAM_FILE = Path(__file__).with_name("spam_terms.txt")

# RE2 goes from 0.02 to 12 ms a page when a pattern outgrows its automaton: at about 2,000 entries. So many a pattern,
# and so many in all; beyond that every text is cut into runs.
PATTERN_ENTRIES = 500
MAX_SCREENED = 10_000

_RUN = regex.compile(r"[\w\u200c\u200d]+")  # `regex`, not `re`: there a letter's marks belong to the word
_BETWEEN_RUNS = "[^0-9a-z_]+"  # whatever may stand between runs, and some more
# Blocks of scripts written without spaces: Thai and Lao, Burmese, Khmer, kana, ideographs.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af]"
)


@dataclass(frozen=True)
class Entry:
    """A word or phrase and the list that names it. `runs` are empty where it is to be looked for anywhere."""

    list: str
    text: str
    runs: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """An RE2 pattern that matches wherever the entry is found, if not only there."""
        return _BETWEEN_RUNS.join(map(re.escape, self.runs)) if self.runs else re.escape(self.text)


@dataclass(frozen=True)
class WordLists:
    """Lists of words and phrases, ready to be looked for."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, lists: Mapping[str, Iterable[str]]) -> "WordLists":
        """Make lists of list name -> entries; those without letters or digits are left out, and repeated ones."""
        entries: dict[Entry, None] = {}
        for name in sorted(lists):
            for text in lists[name]:
                lower = text.strip().lower()
                runs = tuple(_RUN.findall(lower))
                if runs:
                    unspaced = _UNSPACED.search(lower) is not None
                    entries[Entry(name, lower if unspaced else " ".join(runs), () if unspaced else runs)] = None
        return cls(tuple(entries))

    @cached_property
    def by_first(self) -> Mapping[str, list[Entry]]:
        """First run -> entries that begin with it."""
        by_first: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.runs:
                by_first.setdefault(entry.runs[0], []).append(entry)
        return by_first

    @cached_property
    def unspaced(self) -> list[Entry]:
        """Entries to be looked for anywhere."""
        return [entry for entry in self.entries if not entry.runs]

    @cached_property
    def patterns(self) -> list[str]:
        """RE2 patterns, one of which matches every text with an entry; none where there are too many entries."""
        if len(self.entries) > MAX_SCREENED:
            return []
        parts = [entry.pattern for entry in self.entries]
        return ["|".join(parts[k : k + PATTERN_ENTRIES]) for k in range(0, len(parts), PATTERN_ENTRIES)]


@dataclass(frozen=True)
class Hits:
    """What was found in one text.

    Attributes:
        by_list: list -> places.
        terms: different entries.
    """

    by_list: Counter[str]
    terms: int

    @property
    def worst(self) -> str | None:
        """The list with the most places, of equals the first by name."""
        return min(self.by_list, key=lambda name: (-self.by_list[name], name)) if self.by_list else None


NOTHING = Hits(Counter(), 0)


def parse_list(text: str) -> list[str]:
    """The entries of a file: one a line; blank lines and those that begin with # are none."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@cache
def spam_terms() -> WordLists:
    """The built-in list."""
    return WordLists.of({"spam": parse_list(SPAM_FILE.read_text(encoding="utf-8"))})


def signals(texts: Sequence[str], lists: WordLists | None) -> dict[str, Sequence[int | str | None]]:
    """The signals of each text: name -> (n_texts,).

    Args:
        lists: the user's; None: there are none.
    """
    lower = [text.lower() for text in texts]
    found = find(lower, lists) if lists else [None] * len(texts)
    return {
        "spam_terms": [hits.terms for hits in find(lower, spam_terms())],
        "word_list_hits": [None if hits is None else hits.by_list.total() for hits in found],
        "word_list_terms": [None if hits is None else hits.terms for hits in found],
        "word_list": [None if hits is None else hits.worst for hits in found],
    }


def find(lower: Sequence[str], lists: WordLists) -> list[Hits]:
    """Look for the entries of lists in each of several texts, given in lower case."""
    return [
        _find(text, lists) if suspect else NOTHING for text, suspect in zip(lower, _screen(lower, lists), strict=True)
    ]


def _screen(lower: Sequence[str], lists: WordLists) -> list[bool]:
    """Which texts are worth a closer look."""
    if not lists.patterns:
        return [bool(lists.entries)] * len(lower)
    texts = pa.array(lower, pa.large_string())
    suspect = pa.array([False] * len(lower))
    for pattern in lists.patterns:
        suspect = pc.or_(suspect, pc.match_substring_regex(texts, pattern))
    return suspect.to_pylist()


def _find(lower: str, lists: WordLists) -> Hits:
    found = [*_spaced(lower, lists.by_first)] if lists.by_first else []
    for entry in lists.unspaced:
        found.extend([entry] * lower.count(entry.text))
    return Hits(Counter(entry.list for entry in found), len({entry.text for entry in found})) if found else NOTHING


def _spaced(lower: str, by_first: Mapping[str, list[Entry]]) -> Iterator[Entry]:
    runs = _RUN.findall(lower)
    for k, run in enumerate(runs):
        if run in by_first:
            for entry in by_first[run]:
                if tuple(runs[k : k + len(entry.runs)]) == entry.runs:
                    yield entry
