"""Signs in a text that hardly any other domain has: code, TeX, chapters, posts of a forum.

They seed a classifier, so they may miss most pages of their domain and must seldom be wrong.
"""

import re

# A line of code: how it ends, how it begins, or what stands in it; prose has these only by accident.
_CODE_END = re.compile(r"(?:[;{}]|\)\s*:|\\|=>|->)\s*$")
_CODE_START = re.compile(
    r"^\s*(?:(?:def|class|import|from|return|func|fn|pub|let|const|var|public|private|static|void|int|if|for|while)\b"
    r".*[(){}=;:]|#include\b|#!|>>> |\$ |//|/\*|</?[a-z]+[ >])"
)
_CODE_INSIDE = re.compile(r"\w\(.*\).*[;{=]|(?:::|->|=>|==|!=|\+=|&&|\|\|)")
# Commands of mathematics by name: "\\Windows" and "\\n" are no TeX.
_TEX = re.compile(
    r"\\(?:frac|sqrt|sum|prod|int|lim|infty|partial|nabla|mathbb|mathcal|mathbf|mathrm|mathfrak|operatorname|left|right"
    r"|leq?|geq?|neq?|approx|equiv|sim|cdots?|ldots|times|otimes|oplus|subseteq|subset|in|notin|cup|cap|forall|exists"
    r"|alpha|beta|gamma|delta|epsilon|varepsilon|theta|lambda|mu|pi|rho|sigma|tau|phi|varphi|omega|Gamma|Delta|Sigma|Phi"
    r"|Omega|to|mapsto|Rightarrow|iff|text|begin\{(?:align|equation|matrix|pmatrix|cases|array|theorem|proof)\*?\})"
    r"(?![A-Za-z])|[∀-⋿]"
)
_CHAPTER = re.compile(r"^\s*(?:chapter|book|canto)\s+(?:[ivxlc]+|\d+)\b.{0,80}$", re.IGNORECASE | re.MULTILINE)
_POST = re.compile(
    r"^\s*(?:posted (?:by|on|:)|joined:|posts:|location:|last edited by|re: |quote:|reply\b|top$"
    r"|.{1,60} (?:wrote|said|writes):\s*$)",
    re.IGNORECASE | re.MULTILINE,
)


def signs_of(text: str) -> dict[str, float]:
    """Sign -> its value in a text.

    code_line_fraction  lines that look like code, of those that are not empty
    tex_per_kchar       TeX commands of mathematics and mathematical operators, per 1,000 code points
    chapter_headings    lines such as "CHAPTER IV"
    post_lines          lines that forum software puts around posts: "Posted by", "Joined:", "Ann wrote:"
    """
    lines = [line for line in text.splitlines() if line.strip()]
    code = sum(1 for line in lines if _is_code(line))
    return {
        "code_line_fraction": code / len(lines) if lines else 0.0,
        "tex_per_kchar": 1000 * len(_TEX.findall(text)) / len(text) if text else 0.0,
        "chapter_headings": float(len(_CHAPTER.findall(text))),
        "post_lines": float(len(_POST.findall(text))),
    }


def _is_code(line: str) -> bool:
    if _TEX.search(line):
        return False  # braces and arrows of a formula
    return bool(_CODE_END.search(line) or _CODE_START.search(line) or _CODE_INSIDE.search(line))
