"""Is an unmarked block of a docstring code, or prose that happens to be indented?

Plain-text docstrings (most of the standard library) mark neither; a documentation page must choose.
"""

import re

_WORD = re.compile(r"[(\"'`*]*[A-Za-z][A-Za-z'’/-]*[`*]*[.,;:?!)\"']*$")
_CODE_LINE = re.compile(
    r"(?:>>>|\.\.\. |\$ |% |#|@\w|import |from \w+ import|def |class |return\b|for .*:$|if .*:$|with .*:$|try:|print\()"
    r"|^[\w.\[\]'\", ]+ [+*/-]?= \S|^[\w.]+\(.*\)\s*(?:#.*)?$|[{};]$|^[<\[({]"
)
# Below this share of plain words an indented block is shown as code rather than as prose.
_PROSE_SHARE = 0.7


def looks_like_code(lines: list[str]) -> bool:
    """Whether an unmarked block of `lines` (dedented) is better shown preformatted than as prose."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return False
    if 2 * sum(1 for line in filled if _CODE_LINE.match(line.strip())) >= len(filled):
        return True
    gaps = sum(1 for line in filled if "   " in line.strip())
    words = " ".join(filled).split()
    plain = sum(1 for word in words if _WORD.match(word))
    return plain < _PROSE_SHARE * len(words) or (len(filled) > 1 and 2 * gaps > len(filled))
