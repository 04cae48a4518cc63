"""Code and formulas, which must survive extraction letter by letter.

trafilatura joins white space, drops empty lines of code, flattens code in tables, and drops `<script type="math/tex">`
and formulas that a site hides (Wikipedia). So the parsed page is prepared, and the text finished:

Code. The content of a `<pre>` becomes one run of text in which line ends and indentation stand as visible characters
that nobody trims, framed by marks for its beginning and end; `restore` turns them back.

Formulas. MathML with a TeX annotation or alttext, KaTeX, MathJax scripts and images whose alt text is TeX become
`$tex$`, or `$$tex$$` for one that stands by itself; on pages that load MathJax or KaTeX, so do `\\(tex\\)` and
`\\[tex\\]`. Markdown output gets `\\(tex\\)` instead: trafilatura makes `$tex$` of that and leaves it unescaped.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

# Control pictures (Unicode block 2400): printable, no white space, hardly ever in a page. One that has them is left be.
# AMPERSAND keeps `&lt;` that code spells out from being read as markup at the end.
LINE_END, SPACE, TAB, AMPERSAND, BEGIN, END = MARKS = ("\u240a", "\u2420", "\u2409", "\u2406", "\u2402", "\u2403")
_LAYOUT = re.compile(r"(?<=\n)[ \t]+|^[ \t]+|[ \t]{2,}|\t")  # white space that means something in code

# In a `<pre>`: no code but what is around it, and what shows that the `<pre>` was never closed.
_LINE_NUMBERS = re.compile(r"(?:^|[\s_-])(?:line-?numbers?|line-?nos?|lnos?|gutter)(?:$|[\s_-])", re.IGNORECASE)
_LINE_TAGS = ("div", "p", "li")  # that some highlighters make of each line

# Words in the markup without which there is no formula of the kind: a search that costs microseconds.
_FORMULA_SIGNS = ("<math", "math/tex", "<img")
_TEX_TYPE = re.compile(r"\s*math/tex\b", re.IGNORECASE)
_FORMULA_BOX = re.compile(r"(?:^|\s)(?:katex(?:-display)?|mwe-math-element|MathJax(?:_Display)?|mjx-container)(?:\s|$)")
_DISPLAY_BOX = re.compile(r"(?:^|\s)(?:katex-display|MathJax_Display|mwe-math-fallback-image-display)(?:\s|$)")
_RENDERED = re.compile(r"(?:^|\s)MathJax(?:_Preview|_Display|_SVG|_SVG_Display|_CHTML)?(?:\s|$)")
_TEX_IMAGE = re.compile(r"(?:^|[\s_-])(?:tex|latex|math|mathjax|formula)(?:$|[\s_-])|^mwe-math-fallback", re.IGNORECASE)
_TEX_LIKE = re.compile(r"[\\^_]")
_STYLED = re.compile(r"^\{\\(?:display|text)style\s*(.*)\}$", re.DOTALL)
_MATH_LOADERS = ("mathjax", "MathJax", "katex", "KaTeX")
_INLINE_TEX, _DISPLAY_TEX = re.compile(r"\\\((.+?)\\\)", re.DOTALL), re.compile(r"\\\[(.+?)\\\]", re.DOTALL)
_VERBATIM_TAGS = frozenset({"pre", "code", "script", "style", "textarea"})
MAX_TEX_CHARS = 10_000  # of one formula; longer ones are something else


class Verbatim:
    """What was done to one page, so that it can be undone in its text."""

    def __init__(self, tree: "HtmlElement", html: str, *, markdown: bool = False) -> None:
        """Prepare a parsed page; changes the tree.

        Args:
            html: the page as it was parsed: what does not occur in it is not looked for.
            markdown: the text will be Markdown, whose code blocks trafilatura keeps itself.
        """
        self._marked = False
        if any(sign in html for sign in _FORMULA_SIGNS):
            keep_formulas(tree, markdown=markdown)
        if not markdown and ("\\(" in html or "\\[" in html) and any(name in html for name in _MATH_LOADERS):
            keep_tex_in_text(tree)
        if not markdown and ("<pre" in html or "<PRE" in html) and not any(mark in html for mark in MARKS):
            self._marked = keep_code(tree)

    def restore(self, text: str) -> str:
        """The text with its code as it was."""
        if not self._marked:
            return text
        before, *blocks = text.split(BEGIN)
        pieces = [before.rstrip()]
        for block in blocks:  # code stands on lines of its own; what follows keeps its indentation
            code, _, after = block.partition(END)
            pieces += [code.strip(), after.lstrip(" \t").lstrip("\n").rstrip()]
        text = "\n".join(filter(None, pieces))
        for mark, meant in ((LINE_END, "\n"), (SPACE, " "), (TAB, "\t"), (AMPERSAND, "&")):
            text = text.replace(mark, meant)
        return text.strip("\n")


# --- Code ------------------------------------------------------------------------------------------------------------


def keep_code(tree: "HtmlElement") -> bool:
    """Make each `<pre>` of the tree one run of marked text; answers whether there was one."""
    found = False
    for pre in list(tree.iter("pre")):
        if next(pre.iterdescendants("p", "table", "h1", "h2", "h3", "article", "section", "pre"), None) is not None:
            continue
        lines = _code_of(pre).split("\n")
        while lines and not lines[0].strip():
            lines.pop(0)
        code = "\n".join(line.rstrip() for line in lines).rstrip()
        if not code:
            continue
        if _counts_lines(code):
            pre.getparent().remove(pre)
            continue
        is_code = next(pre.iter("code"), None) is not None
        tail = pre.tail
        for child in list(pre):
            pre.remove(child)
        marked = _LAYOUT.sub(lambda blank: blank[0].replace(" ", SPACE).replace("\t", TAB), code)
        marked = BEGIN + marked.replace("\n", LINE_END).replace("&", AMPERSAND) + END
        if is_code:
            pre.text = None
            element = pre.makeelement("code")
            element.text = marked
            pre.append(element)
        else:
            pre.text = marked
        pre.tail = tail
        found = True
    return found


def _counts_lines(code: str) -> bool:
    """Whether it is the column of line numbers that some highlighters put beside the code."""
    numbers = code.split()
    return (
        len(numbers) > 1
        and numbers[0].isdecimal()
        and numbers == [str(int(numbers[0]) + k) for k in range(len(numbers))]
    )


def _code_of(pre: "HtmlElement") -> str:
    """The text of a `<pre>`: `<br>` ends a line, and so does an element that holds one line."""
    pieces: list[str] = []

    def collect(element: "HtmlElement") -> None:
        if not isinstance(element.tag, str) or element.tag in ("button", "script", "style"):
            return
        if element is not pre and element.get("aria-hidden") == "true":
            return
        if element is not pre and (name := element.get("class")) and _LINE_NUMBERS.search(name):
            return
        if element.tag == "br":
            pieces.append("\n")
        own_line = element.tag in _LINE_TAGS
        if own_line and pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        if element.text:
            pieces.append(element.text)
        for child in element:
            collect(child)
            if child.tail:
                pieces.append(child.tail)
        if own_line and pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")

    collect(pre)
    return "".join(pieces).replace("\r\n", "\n").replace("\r", "\n")


# --- Formulas --------------------------------------------------------------------------------------------------------


def keep_formulas(tree: "HtmlElement", *, markdown: bool = False) -> int:
    """Put TeX in the place of each formula that has some; answers how many have."""
    formulas = 0
    for element in list(tree.iter("math", "script", "img")):
        if element.getroottree().getroot() is not tree:
            continue  # went with the box of an earlier one
        tex = _tex_of(element)
        if not tex:
            continue
        box = _box_of(element)
        _put_text(box, *_delimited(tex, _stands_alone(element, box), markdown))
        formulas += 1
    return formulas


def keep_tex_in_text(tree: "HtmlElement") -> None:
    r"""Turn `\(…\)` into `$…$` and `\[…\]` into `$$…$$` in running text, code left out."""
    for element in tree.iter():
        if element.text and "\\" in element.text and not _in_verbatim(element):
            element.text = _dollars(element.text)
        if element.tail and "\\" in element.tail and not _in_verbatim(element.getparent()):
            element.tail = _dollars(element.tail)


def _dollars(text: str) -> str:
    for formula, close, dollar in ((_INLINE_TEX, "\\)", "$"), (_DISPLAY_TEX, "\\]", "$$")):
        # Behind the last end there is nothing to find, and looking would take quadratic time.
        head, end, rest = text.rpartition(close)
        pieces = formula.split(head + end)
        pieces[1::2] = [f"{dollar}{' '.join(tex.split())}{dollar}" for tex in pieces[1::2]]
        text = "".join(pieces) + rest
    return text


def _in_verbatim(element: "HtmlElement | None") -> bool:
    if element is None or not isinstance(element.tag, str):
        return True
    return element.tag in _VERBATIM_TAGS or any(ancestor.tag in _VERBATIM_TAGS for ancestor in element.iterancestors())


def _tex_of(element: "HtmlElement") -> str:
    if element.tag == "script":
        tex = (element.text or "") if _TEX_TYPE.match(element.get("type") or "") else ""
        tex = tex.strip().removeprefix("% <![CDATA[").removesuffix("%]]>")
    elif element.tag == "math":
        tex = next(_annotations(element), "") or element.get("alttext") or ""
    else:
        tex = (element.get("alt") or "") if _TEX_IMAGE.search(element.get("class") or "") else ""
        tex = tex if _TEX_LIKE.search(tex) else ""
    tex = " ".join(tex.split()).strip("$").strip()
    if styled := _STYLED.match(tex):
        tex = styled[1].strip()
    return tex if len(tex) <= MAX_TEX_CHARS else ""


def _annotations(math: "HtmlElement") -> Iterator[str]:
    for annotation in math.iter("annotation"):
        if "tex" in (annotation.get("encoding") or "").lower() and annotation.text:
            yield annotation.text


def _box_of(element: "HtmlElement") -> "HtmlElement":
    """The outermost element that only holds this formula in its various forms."""
    box = element
    for ancestor in element.iterancestors():
        if not isinstance(ancestor.tag, str):
            break
        if ancestor.tag == "mjx-container" or _FORMULA_BOX.search(ancestor.get("class") or ""):
            box = ancestor
        elif ancestor.tag != "span" and not ancestor.tag.startswith("mjx-"):
            break
    return box


def _stands_alone(element: "HtmlElement", box: "HtmlElement") -> bool:
    if element.get("display") == "block" or "mode=display" in (element.get("type") or "").replace(" ", ""):
        return True
    return any(_DISPLAY_BOX.search(part.get("class") or "") for part in (box, element))


def _delimited(tex: str, alone: bool, markdown: bool) -> tuple[str, bool]:
    if markdown:
        return (f" \\[{tex}\\] " if alone else f"\\({tex}\\)"), alone
    return (f"$${tex}$$" if alone else f"${tex}$"), alone


def _put_text(box: "HtmlElement", text: str, alone: bool) -> None:
    """Replace an element by text; a formula alone between blocks becomes a paragraph of its own."""
    parent = box.getparent()
    if parent is None:
        return
    previous = box.getprevious()
    while previous is not None and _RENDERED.search(previous.get("class") or "") and not (previous.tail or "").strip():
        parent.remove(previous)  # MathJax's own rendering of the script that follows
        previous = box.getprevious()
    tail = box.tail or ""
    before = (parent.text if previous is None else previous.tail) or ""
    in_block = parent.tag in ("div", "section", "article", "main", "body", "figure")
    if alone and in_block and not before.strip() and not tail.strip():
        paragraph = box.makeelement("p")
        paragraph.text, paragraph.tail = text, box.tail
        parent.replace(box, paragraph)
        return
    text = f"{before}{text}{tail}"
    parent.remove(box)
    if previous is None:
        parent.text = text
    else:
        previous.tail = text
