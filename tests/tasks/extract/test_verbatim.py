"""Code and formulas: in the text as they were in the page."""

import pytest

from tasks.extract.page import ExtractionOptions, Page, extract_page
from tasks.extract.verbatim import MARKS

PROSE = (
    "<p>This paragraph of plain prose stands around what follows, with commas, with verbs, and with enough words to be"
    " taken for the main text of the page by any extractor that looks at it.</p>"
)
CODE = "def f(x):\n    if x:\n        return  1\n\n    return 2"


def text_of(body: str, *, head: str = "", markdown: bool = False, verbatim: bool = True) -> str:
    html = f"<html><head><title>T</title>{head}</head><body><nav><a href='/'>Home</a></nav><article><h1>Title</h1>"
    html += f"{PROSE}{body}{PROSE.replace('plain', 'closing')}</article></body></html>"
    page = extract_page(html, "2024-05-18", ExtractionOptions(markdown=markdown, verbatim=verbatim))
    assert isinstance(page, Page), page
    return page.text


@pytest.mark.parametrize(
    "block",
    [
        f"<pre>{CODE}</pre>",
        f"<pre><code class='language-python'>{CODE}</code></pre>",
        f"<pre>\n{CODE}\n\n</pre>",
        f"<PRE>{CODE}</PRE>",
        "<pre>" + CODE.replace("\n", "<br>") + "</pre>",
        f"<pre>{CODE}</pre>".replace("\n", "\r\n"),
        '<div class="highlight"><pre><span></span><span class="k">def</span> <span class="nf">f</span>(x):\n'
        "    <span>if</span> x:\n        <span>return</span>  1\n\n    return <span>2</span></pre></div>",
        "<pre><code>"
        + "".join(f"<div class='line'>{line or ' '}</div>" for line in CODE.split("\n"))
        + "</code></pre>",
        f"<pre><button>Copy</button><span class='linenos'>1 2 3</span><code>{CODE}</code></pre>",
        f"<table><tr><td><pre>1\n2\n3\n4\n5</pre></td><td><pre><code>{CODE}</code></pre></td></tr></table>",
        f"<ul><li>An item before its code<pre><code>{CODE}</code></pre></li><li>Another</li></ul>",
    ],
)
def test_code_keeps_its_lines_and_indentation(block: str) -> None:
    text = text_of(block)
    assert f"\n{CODE}\n" in text
    assert "Copy" not in text and "1\n2\n3" not in text and "1 2 3" not in text


def test_code_stands_on_lines_of_its_own() -> None:
    text = text_of(f"<ul><li>An item before its code<pre><code>{CODE}</code></pre></li><li>Another</li></ul>")
    assert f"- An item before its code\n{CODE}\n- Another\n" in text


def test_tabs_and_escapes_survive() -> None:
    assert "\nall:\n\tmake &lt; in && echo\n" in text_of("<pre>all:\n\tmake &amp;lt; in &amp;&amp; echo</pre>")


def test_a_pre_that_holds_the_page_is_no_code() -> None:
    text = text_of(f"<pre><p>One paragraph\n   in it, never closed.</p>{PROSE.replace('plain', 'inner')}</pre>")
    assert "inner prose" in text


def test_pages_that_hold_the_marks_keep_them() -> None:
    text = text_of(
        f"<p>The picture of a line feed is {MARKS[0]}, as everybody who reads tables knows.</p><pre>a\n b</pre>"
    )
    assert f"is {MARKS[0]}, as" in text


def test_no_mark_is_left_in_any_text() -> None:
    assert not set(MARKS) & set(text_of(f"<pre>{CODE}</pre><blockquote><pre>{CODE}</pre></blockquote>"))


def test_prose_is_the_same_without_code() -> None:
    assert text_of("") == text_of("", verbatim=False)


STYLED = "{\\displaystyle E=mc^{2}}"
MATHML = "<math {}><semantics><mi>x</mi><annotation encoding='application/x-tex'>{}</annotation></semantics></math>"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (MATHML.format("", r"x_1^{2}"), "$x_1^{2}$"),
        ("<math alttext='x^2'><mi>x</mi></math>", "$x^2$"),
        (MATHML.format("display='block'", r"\sum_i x"), r"$$\sum_i x$$"),
        (
            f"<span class='katex'><span class='katex-mathml'>{MATHML.format('', 'a+b')}</span>"
            "<span class='katex-html' aria-hidden='true'><span>a</span>+<span>b</span></span></span>",
            "$a+b$",
        ),
        (
            "<span class='katex-display'><span class='katex'>"
            f"<span class='katex-mathml'>{MATHML.format('', 'a+b')}</span>"
            "<span class='katex-html' aria-hidden='true'>ab</span></span></span>",
            "$$a+b$$",
        ),
        ('<script type="math/tex">x^2 < y</script>', "$x^2 < y$"),  # a script's content is no markup
        ('<script type="math/tex; mode=display">\\frac{1}{2}</script>', r"$$\frac{1}{2}$$"),
        (
            "<span class='MathJax_Preview'>x2</span><span class='MathJax' id='MathJax-Element-1-Frame'>x2</span>"
            "<script type='math/tex' id='MathJax-Element-1'>x^2</script>",
            "$x^2$",
        ),
        (
            "<span class='mwe-math-element'><span class='mwe-math-mathml-inline mwe-math-mathml-a11y'"
            f" style='display: none;'>{MATHML.format('', STYLED)}</span>"
            f"<img src='a.svg' class='mwe-math-fallback-image-inline' alt='{STYLED}'></span>",
            "$E=mc^{2}$",
        ),
        ("<img class='latex' src='a.png' alt='\\alpha_1'>", r"$\alpha_1$"),
        ("<img class='mwe-math-fallback-image-inline' alt='{\\displaystyle \\pi }' src='a.svg'>", r"$\pi$"),
    ],
)
def test_formulas_become_tex(markup: str, expected: str) -> None:
    assert f"Take {expected} as it is." in text_of(f"<p>Take {markup} as it is.</p>")


def test_a_formula_between_paragraphs_is_one_itself() -> None:
    markup = "<div class='math'><script type='math/tex; mode=display'>\\int_0^1 x\\,dx</script></div>"
    assert "\n$$\\int_0^1 x\\,dx$$\n" in text_of(markup)


@pytest.mark.parametrize(
    "markup",
    ["<img class='photo' alt='x^2' src='a.png'>", "<img class='latex' alt='a formula' src='a.png'>", "<math></math>"],
)
def test_what_has_no_tex_adds_nothing(markup: str) -> None:
    assert "Take as it is." in " ".join(text_of(f"<p>Take {markup} as it is.</p>").split())


def test_tex_in_running_text() -> None:
    body = r"<p>Take \(x_1\) and \[ \sum_i x \] as they are, but \(n\) times.</p><p>Code: <code>\(x\)</code> stays.</p>"
    loader = "<script src='https://cdn.example/MathJax.js'></script>"
    text = text_of(body, head=loader)
    assert r"Take $x_1$ and $$\sum_i x$$ as they are, but $n$ times." in text
    assert r"Code: \(x\) stays." in text
    assert r"Take \(x_1\) and \[ \sum_i x \] as they are" in text_of(body)  # nothing says that this is TeX


def test_markdown_keeps_formulas_unescaped() -> None:
    text = text_of(f"<p>Take {MATHML.format('', 'x_1^{2}')} as it is.</p><pre><code>{CODE}</code></pre>", markdown=True)
    assert "Take $x_1^{2}$ as it is." in text
    assert "```\ndef f(x):\n    if x:" in text


def test_it_can_be_switched_off() -> None:
    assert "$" not in text_of(f"<p>Take {MATHML.format('', 'x_1')} as it is.</p>", verbatim=False)
