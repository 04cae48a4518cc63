"""Lines of extracted text: which one is a heading, a signature, prose or none of these.

Extracted text has lost its markup: a heading is a short line without a full stop before a paragraph, a definition list
is a run of `- ` lines, a signature is a line with brackets in the right places. Each rule here errs on the side of
saying no: a question mined from the wrong lines is worse than one not mined.
"""

import re
from collections.abc import Iterator, Sequence

MAX_HEADING_CHARS = 90
MAX_HEADING_WORDS = 12
MAX_SIGNATURE_CHARS = 160
MIN_PROSE_WORDS = 4
ABBREVIATION_CHARS = 12  # no abbreviation below is longer, with the blank before it
MAX_PARAGRAPH_LINES = 8  # a hard-wrapped paragraph is read this far: enough for its first sentences
MIN_LETTER_SHARE = 0.78  # of the characters of prose, blanks left out; code and tables have less

MIN_HEADING_LETTERS = 0.8  # the same for headings: rows of numbers are no headings
# A line that ends with one of these goes on: it is a wrapped line of a paragraph.
DANGLING = re.compile(
    r"\b(?:a|an|and|as|at|by|for|from|in|into|is|of|on|or|than|that|the|to|was|were|which|with|your|und|der|die|das|et|de)$",
    re.IGNORECASE,
)
NUMBERING = re.compile(r"^(?:(?:question|chapter|section|step|q)\s*)?(?:\d+|[A-Z])?(?:\.\d+)*[.:)]\s+", re.IGNORECASE)
# Permalink signs that Sphinx, Javadoc and others put behind headings and signatures, and links to the source.
PERMALINK = re.compile(r"(?: ?(?:\[source\]|\[edit\]|\[src\]|[#¶§]))+$")
BULLET = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s+")
NAME = r"[A-Za-z_]\w*(?:(?:\.|::)[A-Za-z_]\w*)*"
IDENTIFIER = re.compile(rf"^{NAME}(?:\(\))?$")
SIGNATURE = re.compile(
    rf"^(?P<what>(?:async\s+)?def\s+|class\s+|function\s+|classmethod\s+|staticmethod\s+|property\s+)?"
    rf"(?P<name>{NAME})\((?P<arguments>(?![\"'\d])[^()]*(?:\([^()]*\)[^()]*)*)\)(?:\s*->\s*[^.]{{1,60}})?:?$"
)
CODE = re.compile(
    r"^\s*(?:>>>|\.\.\.\s|\$\s|#\s?include|@\w|import\s+\w|from\s+[\w.]+\s+import\b|return\b\s*\S*$|#!)"
    r"|[{};]\s*$|^\s*[\w.\[\]\"']+\s*[-+*/]?=\s|^\s*</?\w+[^>]*>\s*$|^\s*[)\]}]"
)
TABLE = re.compile(r"^\s*\|")
TERMINAL = re.compile(r"[.!?][\"')\]”’]*$")
# Not sentence ends: common abbreviations, initials, and file names or numbers are told apart by the blank that follows.
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|resp|approx|incl|excl|dept|est|fig|figs|eq|eqs|sec|no|nos|vol|pp|ed|eds|ch|st|mr"
    r"|mrs|ms|dr|prof|jr|sr|inc|ltd|co|corp|ver|viz)|\b[A-Z])\.$",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?][\"')\]”’]*(?=\s+[\"'(\[“‘`]?[A-Z0-9])|[.!?][\"')\]”’]*$")
DATE_LINE = re.compile(
    r"^(?:\w+,?\s+)?(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d{2}-\d{2}"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\.?\s+\d{1,2},?\s+\d{4}|\d{1,2}\s+\w+\s+\d{4})",
    re.IGNORECASE,
)


def clean(line: str) -> str:
    """A line without permalink signs and outer blanks, inner blanks made single."""
    text = " ".join(line.split())
    return PERMALINK.sub("", text) if text.endswith(("#", "¶", "§", "]")) else text


def without_bullet(line: str) -> str:
    """A cleaned line without its list mark: definition lists come out of extraction as bullets."""
    return clean(BULLET.sub("", line))


def is_code(line: str) -> bool:
    """Whether a line looks like code, a prompt, markup or a table row."""
    return bool(CODE.search(line) or TABLE.match(line)) or line.startswith(("    ", "\t"))


def is_identifier(line: str) -> bool:
    """Whether a heading names something in code: dotted, with underscores, in camel case, or called."""
    if not IDENTIFIER.match(line) or len(line) > MAX_HEADING_CHARS:
        return False
    bare = line.removesuffix("()")
    return line != bare or "." in bare or "_" in bare or "::" in bare or bool(re.search(r"[a-z][A-Z]", bare))


def signature_name(line: str) -> str | None:
    """The name that a signature line defines, or None. A call in code has no place for one: assignments are refused."""
    if len(line) > MAX_SIGNATURE_CHARS:
        return None
    match = SIGNATURE.match(line)
    return match["name"] if match else None


def without_number(heading: str) -> str:
    """A heading without "2.4.", "Step 3:", "Q:" before it."""
    return NUMBERING.sub("", heading) or heading


def is_heading(line: str) -> bool:
    """Whether a cleaned line can be a heading: short, no sentence, no list item, no code."""
    if is_identifier(line):
        return True
    bare = without_number(line)
    words = bare.split()
    if not words or len(words) > MAX_HEADING_WORDS or len(line) > MAX_HEADING_CHARS:
        return False
    if is_code(line) or BULLET.match(line) or DATE_LINE.match(line) or bare[-1] in ".,;:!|=…-–>":
        return False
    if SENTENCE_END.search(bare.rstrip("?")) or DANGLING.search(bare):
        return False
    first = bare.lstrip("\"'“‘`(")[:1]
    return (first.isupper() or len(words) == 1) and letter_share(bare) >= MIN_HEADING_LETTERS


def is_open(line: str) -> bool:
    """Whether a cleaned line is prose that ends no sentence, so that the next line goes on with it."""
    return is_prose(line) and not TERMINAL.search(line) and not line.endswith((":", ";")) and not is_heading(line)


def is_prose(line: str) -> bool:
    """Whether a cleaned line begins a paragraph of sentences."""
    words = line.split()
    if len(words) < MIN_PROSE_WORDS or is_code(line) or line.startswith(("- ", "* ", "|")):
        return False
    if not line.lstrip("\"'“‘`(")[:1].isupper():
        return False
    return letter_share(line) >= MIN_LETTER_SHARE and any(word.islower() for word in words[1:])


def letter_share(text: str) -> float:
    """Letters among the characters that are no blanks; 0 for an empty text."""
    dense = "".join(text.split())
    return sum(map(str.isalpha, dense)) / len(dense) if dense else 0.0


def paragraph(lines: Sequence[str], start: int) -> str:
    """The paragraph that begins at a line: a line that ends no sentence goes on in the next one.

    It does not go on in code, nor in a name or a signature: the next definition begins there.

    Args:
        lines: raw lines.
    """
    text = without_bullet(lines[start])
    for line in lines[start + 1 : start + MAX_PARAGRAPH_LINES]:
        following = clean(line)
        if TERMINAL.search(text) or not following or is_code(line) or BULLET.match(line) or text.endswith(":"):
            break
        if is_identifier(following) or signature_name(following):
            break
        text = f"{text} {following}"
    return text


def sentences(text: str) -> Iterator[str]:
    """The sentences of a paragraph. What follows the last full stop is left out."""
    start = 0
    for match in SENTENCE_END.finditer(text):
        candidate = text[start : match.end()].strip()
        if ABBREVIATION.search(candidate[-ABBREVIATION_CHARS:]) and match.end() < len(text):
            continue
        if candidate:
            yield candidate
        start = match.end()
