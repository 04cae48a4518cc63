"""trafilatura with the same output for less time: for a process that does nothing else, such as the sandbox's child.

What it saves was found with a profiler on real pages, and each saving leaves the text as it was, byte for byte.

Elements. lxml.html picks a Python class for every element it touches (forms, inputs …); trafilatura uses none of their
methods, and the choice was 6 to 10 % of its time.

Selectors. trafilatura finds what to discard, and where the article is, by XPath with regular expressions over the
class, id, style … of every element; each test leaves C for Python, and they were 40 % of its time. Whether such an
expression selects an element depends on its tag and a few attributes, and these repeat within a page and across a
site: the verdict is taken from trafilatura's own expression once and then remembered.

Second opinions. trafilatura has readability extract each page as well and prefers that when it is more than twice as
long. On most pages it cannot be: its own text is more than half of all there is.

Stop words. jusText looks its list up by the list's hash, and hashing a hundred languages' words for every page takes
longer than what it does with them.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import XPath, _Element
    from lxml.html import HtmlElement
    from trafilatura.settings import Extractor

MAX_VERDICTS = 20_000  # remembered for one expression; then it starts afresh
MAX_KEY_CHARS = 1_000  # of attributes remembered: a style may hold a whole picture

_SELECTOR_LISTS = (
    "BODY_XPATH",
    "COMMENTS_XPATH",
    "REMOVE_COMMENTS_XPATH",
    "REMOVE_COMMENTS_AND_LISTS_XPATH",
    "RAW_TREE_PRUNE_XPATH",
    "OVERALL_DISCARD_XPATH",
    "TEASER_DISCARD_XPATH",
    "PRECISION_DISCARD_XPATH",
    "DISCARD_IMAGE_ELEMENTS",
    "COMMENTS_DISCARD_XPATH",
)
_ONLY_THE_FIRST = {"BODY_XPATH"}  # of which trafilatura takes no more

_NAMESPACES = {"re": "http://exslt.org/regular-expressions"}
_SHAPE = re.compile(r"\s*(?P<open>\()?\s*\.//\*\s*(?P<predicates>\[.*\])\s*(?(open)\)\s*\[1\]\s*)", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ATTRIBUTE = re.compile(r"@([A-Za-z][\w.-]*)")
# What a test of an element's own tag and attributes may be made of; `/`, `text()`, a child's name or a number is not.
_OWN = re.compile(
    r"(?:self::[\w-]+|@[A-Za-z][\w.-]*|\b(?:re:test|contains|starts-with|translate|not|or|and)\b|''|[\s()|,=\[\]])*"
)
_SELF = re.compile(r"self::([\w-]+)")
_UNION = re.compile(r"@[\w.-]+(?:\s*\|\s*@[\w.-]+)+")
_TAGS_ONLY = re.compile(r"\[\s*self::[\w-]+(?:\s+or\s+self::[\w-]+)*\s*\]")


class RememberedSelector:
    """What an XPath of the shape `.//*[tests of the element's own tag and attributes]` finds, in document order.

    Called like the `lxml.etree.XPath` that it stands for. Predicates that look further (`[not(.//h1)]`) are put to
    XPath again for the elements that pass those before them.
    """

    def __init__(self, path: str, *, only_first: bool = False) -> None:
        """Take an expression apart.

        Args:
            only_first: find the first element in document order alone; such an expression may end in `[1]`.

        Raises:
            ValueError: the expression has another shape.
        """
        from lxml.etree import XPath

        shape = _SHAPE.fullmatch(path)
        if shape is None or (shape["open"] and not only_first):
            raise ValueError(f"not of the shape .//*[…]: {path}")
        predicates = _split_predicates(shape["predicates"])
        if only_first and predicates[-1].strip("[ ]\n") == "1":
            predicates.pop()
        n_own = 0
        while n_own < len(predicates) and _OWN.fullmatch(_QUOTED.sub("''", predicates[n_own])):
            n_own += 1
        own = "".join(predicates[:n_own])
        bare = _QUOTED.sub("''", own)
        self._names = tuple(dict.fromkeys(_ATTRIBUTE.findall(bare)))
        if not self._names or any(predicate.strip("[ ]\n").isdigit() for predicate in predicates[n_own:]):
            raise ValueError(f"no test of attributes, or one of positions: {path}")
        tags = _SELF.findall(predicates[0]) if _TAGS_ONLY.fullmatch(predicates[0]) else ["*"]
        self._tags = tuple(dict.fromkeys(tags))
        self._tag_matters = "self::" in bare[len(predicates[0]) :] or (self._tags == ("*",) and "self::" in bare)
        # Of `@id|@class` XPath reads the first in the order of the markup: then that order belongs to the key.
        unions = [set(_ATTRIBUTE.findall(union)) for union in _UNION.findall(bare)]
        self._ordered = set().union(*unions)
        hubs = set.intersection(*unions) if unions else set()
        self._hub = self._names.index(min(hubs)) if hubs else None  # without it no union has two members
        self._judge = XPath(f"boolean(self::*{own})", namespaces=_NAMESPACES)
        self._judge_rest = (
            XPath(f"boolean(self::*{''.join(predicates)})", namespaces=_NAMESPACES) if n_own < len(predicates) else None
        )
        self._only_first = only_first
        self._verdicts: dict[tuple[object, ...], bool] = {}

    def __call__(self, tree: "_Element") -> "list[_Element]":
        """The descendants of `tree` that the expression selects."""
        names, verdicts, ordered, hub, tag_matters = (
            self._names,
            self._verdicts,
            self._ordered,
            self._hub,
            self._tag_matters,
        )
        found = []
        for element in tree.iterdescendants(*self._tags):
            key: tuple[object, ...] = tuple(map(element.get, names))
            if ordered and (hub is None or key[hub] is not None):
                key = (*key, *(name for name in element.keys() if name in ordered))  # noqa: SIM118  not a dict
            if tag_matters:
                key = (element.tag, *key)
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = self._judged(element, key)
            if verdict and (self._judge_rest is None or self._judge_rest(element)):
                found.append(element)
                if self._only_first:
                    break
        return found

    def _judged(self, element: "_Element", key: tuple[object, ...]) -> bool:
        verdict = bool(self._judge(element))
        if sum(len(part) for part in key if isinstance(part, str)) <= MAX_KEY_CHARS:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        return verdict


def use_lean_trafilatura() -> None:
    """Make trafilatura lean in this process, for good."""
    use_lean_elements()
    remember_selectors()
    skip_needless_opinions()
    hash_stop_words_once()


def use_lean_elements() -> None:
    """Let trafilatura's parser make plain elements."""
    from lxml.etree import ElementDefaultClassLookup
    from lxml.html import HtmlComment, HtmlElement, HtmlEntity, HtmlProcessingInstruction
    from trafilatura.utils import HTML_PARSER

    HTML_PARSER.set_element_class_lookup(
        ElementDefaultClassLookup(
            element=HtmlElement, comment=HtmlComment, pi=HtmlProcessingInstruction, entity=HtmlEntity
        )
    )


def remember_selectors() -> int:
    """Put remembered selectors in the place of trafilatura's, where they have the shape; answers how many have it."""
    from trafilatura import xpaths

    n_remembered = 0
    for name in _SELECTOR_LISTS:
        # The lists are changed in place: other modules of trafilatura hold the same objects.
        selectors: list[XPath | RememberedSelector] = getattr(xpaths, name, [])
        for k, selector in enumerate(selectors):
            remembered = remembered_selector(selector, only_first=name in _ONLY_THE_FIRST)
            if remembered is not None:
                selectors[k] = remembered
            n_remembered += isinstance(selectors[k], RememberedSelector)
    return n_remembered


def remembered_selector(
    selector: "Callable[[_Element], object]", *, only_first: bool = False
) -> RememberedSelector | None:
    """The same as a remembered selector; None when it has another shape."""
    try:
        return RememberedSelector(getattr(selector, "path", ""), only_first=only_first)
    except ValueError:
        return None


def skip_needless_opinions() -> None:
    """Ask for a second opinion only where it could be taken."""
    from trafilatura import core

    compare = core.compare_extraction
    if getattr(compare, "asks_only_if_needed", False):
        return

    def compare_if_needed(
        cleaned_tree: "HtmlElement", raw_tree: "HtmlElement", body: "_Element", text: str, options: "Extractor"
    ) -> "tuple[_Element, str]":
        if _stands(raw_tree, body, text, options):
            return body, text
        return compare(cleaned_tree, raw_tree, body, text, options)

    compare_if_needed.asks_only_if_needed = True  # type: ignore[attr-defined]
    core.compare_extraction = compare_if_needed


class _HashedOnce(tuple[str, ...]):
    """A tuple that remembers its hash."""

    _hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash


def hash_stop_words_once() -> None:
    """Give trafilatura's list of all stop words, a tuple, a hash that is computed once."""
    from trafilatura import external

    if not isinstance(external.JT_STOPLIST, _HashedOnce):
        external.JT_STOPLIST = _HashedOnce(external.jt_stoplist_init())  # type: ignore[assignment]


def _stands(raw_tree: "HtmlElement", body: "_Element", text: str, options: "Extractor") -> bool:
    """Whether `trafilatura.external.compare_extraction` surely answers with what it is given.

    These are its conditions for readability's text (`_prefer_readability`) and for jusText's, all denied, with the
    length of readability's text replaced by that of all text there is.
    """
    from trafilatura.external import SANITIZED_XPATH

    if options.focus == "recall" or len(text) < options.min_extracted_size:
        return False
    if not body.xpath(".//p//text()") or len(body.findall(".//table")) > len(body.findall(".//p")):
        return False
    all_chars = _length(raw_tree.text_content())
    for element in raw_tree.iter("script", "style", "iframe", "noembed", "noframes", "xmp", "plaintext"):
        content = (element.text or "").strip()
        if element.tag in ("script", "style"):
            all_chars -= _length(content)
        elif content:
            return False  # read as markup again once it was written out, and then longer
        else:
            all_chars += len(" VIDEO ")  # what readability makes of some iframes
    if all_chars > 2 * len(text):
        return False
    return not body.xpath(SANITIZED_XPATH)


def _length(text: str) -> int:
    """Characters after trafilatura's trimming: runs of white space as one space."""
    return len(" ".join(text.split()))


def _split_predicates(text: str) -> list[str]:
    """`[a][b[c]]` as `[a]`, `[b[c]]`; brackets inside quotes do not count."""
    blank = _QUOTED.sub(lambda found: " " * len(found[0]), text)
    predicates, depth, start = [], 0, 0
    for position, character in enumerate(blank):
        if character == "[":
            start = position if depth == 0 else start
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                predicates.append(text[start : position + 1])
            elif depth < 0:
                raise ValueError(f"unbalanced brackets: {text}")
        elif depth == 0 and not character.isspace():
            raise ValueError(f"more than predicates: {text}")
    return predicates
