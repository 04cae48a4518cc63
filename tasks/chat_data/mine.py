"""Questions and answers out of the text of one document.

    a name, its signature, a sentence    "What does json.dumps do?"            kind `summary`
    a signature and a sentence           "What does `dumps(obj)` do?"          kind `signature`
    a heading and a paragraph            "Tell me about loading order."        kind `section`
    the first line and the lead          "What is 'Sourdough' about?"          kind `title`
    a heading that asks                  the heading itself                    kind `question`

An answer is the first one or two sentences after the heading, as the page has them. Which wording a question gets is
decided by a hash of what it is about, so it does not depend on anything else in the corpus.
"""

import re
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import xxhash

from tasks.chat_data.lines import (
    BULLET,
    DATE_LINE,
    clean,
    is_code,
    is_heading,
    is_identifier,
    is_open,
    is_prose,
    letter_share,
    paragraph,
    sentences,
    signature_name,
    without_bullet,
    without_number,
)

LANGUAGES = frozenset({"en", "unknown"})  # the languages that questions can be worded in, and "nobody has looked"
MIN_ANSWER_CHARS = 24
MIN_ANSWER_WORDS = 4
SECOND_SENTENCE_BELOW = 70  # an answer shorter than this gets the next sentence too, if there is room
MAX_ANCHOR_CHARS = 240  # a longer line is a paragraph
MAX_LINE_CHARS = 4000  # an answer ends long before
MAX_SKIPPED_LINES = 3  # signatures, version notes and dates between a heading and its paragraph

TEMPLATES: dict[str, tuple[str, ...]] = {
    "summary": (
        "What does {subject} do?",
        "What is {subject}?",
        "What is {subject} for?",
        "Describe {subject} in a sentence or two.",
        "Can you explain {subject}?",
    ),
    "signature": (
        "What does `{subject}` do?",
        "Summarise this signature: `{subject}`",
        "Write a short description of `{subject}`.",
    ),
    "section": (
        'Tell me about "{subject}".',
        'What should I know about "{subject}"?',
        'Explain "{subject}".',
        'What does the section "{subject}" say?',
    ),
    "title": (
        'What is "{subject}" about?',
        'Summarise the beginning of "{subject}".',
        'How does "{subject}" begin?',
    ),
    "returns": ("What does {subject} return?", "What is the result of {subject}?"),
    "yields": ("What does {subject} yield?",),
    "howto": ("How do I {subject}?", "How can I {subject}?"),
}
# Headings that say nothing without the page around them: what follows is about the page.
OF_THE_PAGE = frozenset(
    {"about", "abstract", "description", "introduction", "overview", "summary", "synopsis", "purpose"}
)
# Headings under which no general answer stands.
EMPTY_HEADINGS = re.compile(
    r"^(?:parameters?|arguments?|args|returns?|raises?|yields?|examples?|notes?|see also|references?|attributes|methods"
    r"|errors raised|warnings? given|usage|contents|table of contents|warning|tip|important|caution|hint|attention|todo"
    r"|changelog|changes|license|licence|copyright|author|authors|contact|comments?|related|resources|links|news|home"
    r"|next|previous|top|share|tags|categories|other parameters|constructor|deprecated|new in version"
    r"|changed in version|removed in version|getting help|details|discussion|answers?|conclusion|background|remarks"
    r"|thanks|acknowledge?ments?|part \d+)\b",
    re.IGNORECASE,
)
ODD_HEADING = re.compile(r"[=@<>{}\\|]|\.php|Error:|^.{0,2}$")
SKIPPED_NOTES = re.compile(
    r"^(?:new in version|changed in version|deprecated|removed in version|added in|bases?:|alias(?:es)? for|since "
    r"|source code:|available from|published|last updated|updated|posted|written by|by )",
    re.IGNORECASE,
)
# Sentences that point elsewhere or are the furniture of a page.
NO_ANSWER = re.compile(
    r"see (?:also|below|above|the )|as follows|(?:the )?following|\bbelow\b|click here|cookie|copyright"
    r"|all rights reserved|sign in|log in|subscribe|javascript|page of examples|this page|table of contents|skip to"
    r"|javadoc|todo|fixme|>>>|https?://|[·…]|\"{3}|'{3}|min read|:\w+:`|\{\{|\\[a-z]+\{",
    re.IGNORECASE,
)
RETURNS = re.compile(r"^What (?P<subject>.+) (?P<verb>returns|yields)$")
HOW_TO = re.compile(r"^How to (?P<subject>[a-z].+)$")
PART_SUFFIX = re.compile(r",? \(?part \d+\)?$", re.IGNORECASE)
# An answer in English has one of its commonest words: the test of a short text whose language nobody knows.
ENGLISH = re.compile(
    r"\b(?:the|of|to|is|are|and|for|with|that|this|if|or|from|by|be|as|it|returns?|can|used|you|not|which)\b",
    re.IGNORECASE,
)
ASKS = re.compile(
    r"^(?:what|how|why|when|where|which|who|whose|is|are|was|were|can|could|do|does|did|should|will|would|may|must|has|have)\b",
    re.IGNORECASE,
)


class Pair(NamedTuple):
    """One question and its answer."""

    kind: str
    question: str
    answer: str


def mine(text: str, max_answer_chars: int = 320) -> list[Pair]:
    """The questions that a document answers, in the order of the text. Repeated ones are left in.

    Args:
        text: a document's text, a line a block.
        max_answer_chars: longer answers lose their second sentence, or are left out.
    """
    lines = [line[:MAX_LINE_CHARS] for line in text.split("\n")]
    title = ""
    for line in lines[:3]:
        if is_heading(clean(line)) or (signature_name(clean(line)) is None and is_identifier(clean(line))):
            title = PART_SUFFIX.sub("", clean(line))
            break
    pairs = []
    for place, line in enumerate(lines):
        if len(line) > MAX_ANCHOR_CHARS or not line.strip():
            continue
        heading = without_bullet(line)
        name = signature_name(heading)
        if name is None and (BULLET.match(line) or not is_heading(clean(line)) or _goes_on(lines, place)):
            continue
        if name is not None and place and _names(clean(lines[place - 1]), name):
            continue  # the heading before it has asked already
        found = _answer(lines, place, max_answer_chars)
        if found is None:
            continue
        answer, signature = found
        worded = _question(PART_SUFFIX.sub("", heading), name, signature, title, first=clean(line) == clean(lines[0]))
        if worded is not None and _differ(worded[1], answer):
            pairs.append(Pair(*worded, answer))
    return pairs


def _goes_on(lines: Sequence[str], place: int) -> bool:
    """Whether a line only continues the paragraph before it."""
    return bool(place) and not is_identifier(clean(lines[place])) and is_open(clean(lines[place - 1]))


def _names(heading: str, name: str) -> bool:
    """Whether a heading is the (possibly longer) name that a signature defines."""
    return is_heading(heading) and heading.removesuffix("()").rpartition(".")[2] == name.rpartition(".")[2]


def _answer(lines: Sequence[str], place: int, max_chars: int) -> tuple[str, str] | None:
    """(answer, signature or "") that follow the line at `place`."""
    signature = without_bullet(lines[place]) if signature_name(without_bullet(lines[place])) else ""
    after_name = bool(signature) or is_identifier(clean(lines[place]))
    skipped = 0
    for at in range(place + 1, min(place + 2 + 2 * MAX_SKIPPED_LINES, len(lines))):
        line = without_bullet(lines[at]) if after_name else clean(lines[at])
        if not line:
            continue
        if not signature and signature_name(line):
            signature = line
        elif is_prose(line) and not SKIPPED_NOTES.match(line) and not _is_next_heading(lines, at):
            answer = _shorten(list(islice(sentences(paragraph(lines, at)), 2)), max_chars)
            return (answer, signature) if answer else None
        elif not (signature_name(line) or SKIPPED_NOTES.match(line) or DATE_LINE.match(line)):
            return None
        skipped += 1
        if skipped > MAX_SKIPPED_LINES:
            return None
    return None


def _is_next_heading(lines: Sequence[str], place: int) -> bool:
    """Whether a line that could be prose is a heading: no end of a sentence, and a paragraph after it."""
    line = clean(lines[place])
    return is_heading(line) and not line.endswith("?") and place + 1 < len(lines) and is_prose(clean(lines[place + 1]))


def _shorten(found: Sequence[str], max_chars: int) -> str | None:
    """One sentence, or two when the first is short; None when there is no usable one."""
    if not found or NO_ANSWER.search(found[0]):
        return None
    answer = found[0]
    if len(answer) < SECOND_SENTENCE_BELOW and len(found) > 1 and not NO_ANSWER.search(found[1]):
        both = f"{answer} {found[1]}"
        answer = both if len(both) <= max_chars else answer
    usable = (
        MIN_ANSWER_CHARS <= len(answer) <= max_chars
        and len(answer.split()) >= MIN_ANSWER_WORDS
        and letter_share(answer) >= 0.75  # two sentences may have more signs than the one that was judged
        and ENGLISH.search(answer)
        and not answer.endswith("?")
        and not is_code(answer)
        and _balanced(answer)
    )
    return answer if usable else None


def _balanced(text: str) -> bool:
    """Whether brackets and backticks close: a sentence cut out of the middle often leaves one open."""
    return all(text.count(left) == text.count(right) for left, right in ("()", "[]", "{}")) and text.count("`") % 2 == 0


def _is_odd(heading: str) -> bool:
    return bool(ODD_HEADING.search(heading)) or not _balanced(heading)


def _question(heading: str, name: str | None, signature: str, title: str, first: bool) -> tuple[str, str] | None:
    """(kind, question) for a heading with an answer, or None when it asks nothing."""
    if heading.endswith("?"):
        asked = without_number(heading)
        return ("question", asked) if len(asked.split()) > 2 and ASKS.match(asked) else None
    if match := RETURNS.match(heading):
        kind = match["verb"]
        return kind, _worded(kind, match["subject"])
    if match := HOW_TO.match(heading):
        return "howto", _worded("howto", match["subject"])
    if heading.lower() in OF_THE_PAGE:
        heading, first = title, True
    heading = without_number(heading)
    if name is None and (heading.lower() in OF_THE_PAGE or EMPTY_HEADINGS.match(heading) or _is_odd(heading)):
        return None
    if name is not None or is_identifier(heading) or (signature and _names(heading, signature_name(signature) or "")):
        if signature and (name is not None or _choice(heading, 2)):
            return "signature", _worded("signature", signature)
        return "summary", _worded("summary", heading)
    if first and len(heading.split()) > 1:
        return "title", _worded("title", heading)
    if first and heading.islower():
        return "summary", _worded("summary", heading)
    if len(heading.split()) == 1 and title and title != heading:
        heading = f"{heading} ({title})"  # one word says too little without its page
    return "section", _worded("section", heading)


def _worded(kind: str, subject: str) -> str:
    templates = TEMPLATES[kind]
    return templates[_choice(f"{kind}\n{subject}", len(templates))].format(subject=subject)


def _choice(subject: str, n: int) -> int:
    return xxhash.xxh3_64_intdigest(subject.encode("utf-8", "surrogatepass")) % n


def _differ(question: str, answer: str) -> bool:
    """Whether the answer says more than the question: at least half of its words are new."""
    asked = set(re.findall(r"\w+", question.lower()))
    said = set(re.findall(r"\w+", answer.lower()))
    return 2 * len(said - asked) >= len(said)
