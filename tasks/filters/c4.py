"""C4's line and page rules (Raffel et al. 2020, JMLR 21(140), section 2.2), counted and, on demand, applied.

C4 is a cleaner as well as a filter: it drops lines, and only then counts a page's sentences. `judge_lines` gives the
first reason for which each line goes; `clean_text` rewrites a page as the lines that stay. The counts are always those
of the page before cleaning, the same whether it is cleaned or not, so page rules on them can be changed afterwards.

In the order in which they are looked at, a line goes when:

    long_word             it holds a word of more than 1000 characters (the tfds code, not the paper)
    no_terminal           it does not end in . ? ! " ' or ends in an ellipsis; off by default, as in FineWeb
    short                 it has fewer than 3 words
    javascript            it says "javascript"
    policy                it speaks of terms of use, privacy or cookies (the tfds code, not the paper)

Citation marks as Wikipedia writes them ([1], [edit], [citation needed]) are cut out of the lines that stay.

Lorem ipsum and curly brackets condemn a page only where a line gets so far: behind the tests that it is long enough,
and for brackets that it does not speak of JavaScript. The paper says "any pages"; this is what the code that made C4
does, and datatrove after it. A function's lone opening bracket does not throw away the page about it.

Unlike datatrove, only a line feed (or both with a carriage return) ends a line; the white space that a citation mark
leaves at the end of a line goes with it, which hid the full stop before it from rules on line ends; curly closing
quotes end a line too, where line ends matter; sentences are counted by the rule below and not by spaCy, whose
sentences cost more than everything else together.

Not here: the list of bad words, which the paper takes from a repository without a fixed version.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from tasks.words import SplitText

MAX_WORD_CHARS = 1000  # tfds c4_utils
MIN_LINE_WORDS = 3  # section 2.2; the tfds code says 5
END_PUNCTUATION = (".", "?", "!", '"', "'", "”", "’")
ELLIPSES = ("...", "…")
JAVASCRIPT = "javascript"
LOREM_IPSUM = "lorem ipsum"
POLICY_PHRASES = (  # tfds c4_utils
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)

SIGNALS: tuple[pa.Field, ...] = (  # of the text before cleaning
    pa.field("c4_sentences", pa.int32()),
    pa.field("c4_lorem_ipsum", pa.int32()),
    pa.field("c4_curly_brackets", pa.int32()),
    pa.field("c4_terminal_lines", pa.int32()),
    pa.field("c4_long_word_lines", pa.int32()),
    pa.field("c4_no_terminal_lines", pa.int32()),
    pa.field("c4_short_lines", pa.int32()),
    pa.field("c4_javascript_lines", pa.int32()),
    pa.field("c4_policy_lines", pa.int32()),
)

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
# A sentence ends at . ? ! … with closing quotes or brackets behind, where the line ends or white space and anything
# but a lower-case letter follows ("e.g. this" does not end one); behind CJK marks nothing need follow. A run is entered
# only at its first character and never given back, so that a line of a million dots costs no more than it is long.
_SENTENCE_END = re.compile(
    r"[.?!…。！？](?<![.?!…。！？].)[.?!…。！？]*+[\"'”’)\]»」』）]*+"
    r"(?:(?=\s++[^\sa-z]|\s*+$)|(?<=[。！？」』）])|(?<=[。！？][”’]))"
)


@dataclass(frozen=True)
class C4Lines:
    """What the line rules made of one page.

    Attributes:
        kept: the lines that stay, citations cut.
        dropped: reason -> lines.
        sentences: sentences in the lines that stay, at least one a line.
        terminal: lines of the page that end in terminal punctuation.
        lorem_ipsum: how often the page says so, in lines that are long enough to stay.
        curly_brackets: opening ones, in the same lines without those that speak of JavaScript.
    """

    kept: list[str]
    dropped: Counter[str]
    sentences: int
    terminal: int
    lorem_ipsum: int
    curly_brackets: int


def judge_lines(
    document: SplitText, terminal_punctuation: bool = False, min_line_words: int = MIN_LINE_WORDS
) -> C4Lines:
    """Apply the line rules to a split page. Words are white-space delimited here, whatever the page is split into.

    Args:
        terminal_punctuation: drop lines that do not end in terminal punctuation.
        min_line_words: the shortest line that stays, in words, citations included.
    """
    kept: list[str] = []
    dropped: Counter[str] = Counter()
    sentences = terminal = lorem_ipsum = curly_brackets = 0
    cites = "[" in document.text
    phrases = _Phrases.of(document.text, cites)
    for line in document.lines:
        words = line.split()
        long_word = len(line) > MAX_WORD_CHARS and max(map(len, words)) > MAX_WORD_CHARS
        if cites and "[" in line:
            line = CITATION.sub("", line).strip()
        ends = ends_in_terminal(line)
        terminal += ends
        reason = None
        if long_word:
            reason = "long_word"
        elif terminal_punctuation and not ends:
            reason = "no_terminal"
        elif len(words) < min_line_words or not line:
            reason = "short"
        elif phrases.any:
            lower = line.lower()
            lorem_ipsum += phrases.lorem_ipsum and lower.count(LOREM_IPSUM)
            if phrases.javascript and JAVASCRIPT in lower:
                reason = "javascript"
            else:
                curly_brackets += line.count("{")
                reason = "policy" if phrases.policy and any(phrase in lower for phrase in POLICY_PHRASES) else None
        if reason is None:
            kept.append(line)
            sentences += count_sentences(line)
        else:
            dropped[reason] += 1
    return C4Lines(kept, dropped, sentences, terminal, lorem_ipsum, curly_brackets)


@dataclass(frozen=True)
class _Phrases:
    """Which of the phrases that rules look for a page holds: most hold none, and no line is looked at for them."""

    javascript: bool
    policy: bool
    lorem_ipsum: bool
    curly_bracket: bool

    @classmethod
    def of(cls, text: str, cites: bool) -> "_Phrases":
        lower = (CITATION.sub("", text) if cites else text).lower()
        return cls(
            JAVASCRIPT in lower, any(phrase in lower for phrase in POLICY_PHRASES), LOREM_IPSUM in lower, "{" in text
        )

    @property
    def any(self) -> bool:
        return self.javascript or self.policy or self.lorem_ipsum or self.curly_bracket


def ends_in_terminal(line: str) -> bool:
    """Whether a line ends in a full stop, question or exclamation mark or closing quote, and in no ellipsis."""
    return line.endswith(END_PUNCTUATION) and not line.endswith(ELLIPSES)


def count_sentences(line: str) -> int:
    """Sentences of a non-empty line: its sentence ends, and one more when text follows the last of them."""
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    if not ends:
        return 1
    return len(ends) + bool(line[ends[-1] :].strip())


def page_signals(lines: C4Lines) -> dict[str, int]:
    """The counts of one page that C4's page rules decide on, and what its line rules dropped."""
    return {
        "c4_sentences": lines.sentences,
        "c4_lorem_ipsum": lines.lorem_ipsum,
        "c4_curly_brackets": lines.curly_brackets,
        "c4_terminal_lines": lines.terminal,
        "c4_long_word_lines": lines.dropped["long_word"],
        "c4_no_terminal_lines": lines.dropped["no_terminal"],
        "c4_short_lines": lines.dropped["short"],
        "c4_javascript_lines": lines.dropped["javascript"],
        "c4_policy_lines": lines.dropped["policy"],
    }


def clean_text(kept: Iterable[str]) -> str:
    """The page that C4 keeps: the lines that stay, one below the other."""
    return "\n".join(kept)
