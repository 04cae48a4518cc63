"""Blocks become HTML that says whose section it is and escapes what must be."""

import pytest

from tasks.sample_crawl.blocks import Code, Field, Fields, Heading, Note, Paragraph
from tasks.sample_crawl.mathtext import plain_math
from tasks.sample_crawl.render import blocks_html, inline


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("``a < b`` and *c*", "<code>a &lt; b</code> and <em>c</em>"),
        (":class:`~json.JSONDecoder` or :meth:`.close`", "<code>JSONDecoder</code> or <code>close</code>"),
        (":ref:`the manual <manual>`", "<code>the manual</code>"),
        ("`Python <https://python.org/?a&b>`_", '<a href="https://python.org/?a&amp;b">Python</a>'),
        ("see https://x.org/a.", 'see <a href="https://x.org/a">https://x.org/a</a>.'),
        ("[docs](https://x.org) **now**", '<a href="https://x.org">docs</a> <strong>now</strong>'),
        ("f(*args, **kwargs)", "f(*args, **kwargs)"),
        ("as in [1]_", 'as in <a class="footnote" href="#ref-1">[1]</a>'),
        (r":math:`x_{i} < \alpha`", '<span class="math">x_i &lt; α</span>'),
        ("<script>", "&lt;script&gt;"),
    ],
)
def test_inline_markup(text: str, html: str) -> None:
    assert inline(text) == html


def test_section_titles_name_their_object() -> None:
    html = blocks_html([Heading("Examples", 2), Code("a < b")], "loads", 3)
    assert html == '<h4>Examples of loads</h4>\n<div class="highlight"><pre>a &lt; b\n</pre></div>'


def test_short_fields_are_a_table_and_long_ones_a_list() -> None:
    short = Fields("Parameters", (Field("n", "{1, 2}", (Paragraph("How many."),)),))
    assert "<td><code>n</code></td><td>one of 1, 2</td><td>How many.</td>" in blocks_html([short], "f", 3)
    long = Fields("Parameters", (Field("n", "int", (Paragraph("word " * 30),)),))
    assert "<li><strong>n</strong> (int) – word word" in blocks_html([long], "f", 3)


def test_version_notes_are_one_sentence() -> None:
    note = Note("versionchanged", "3.5 Faster", (Paragraph("and smaller."),))
    assert blocks_html([note], "f", 3) == (
        '<div class="versionchanged"><p><span class="versionmodified">Changed in version 3.5</span>: '
        "Faster and smaller.</p></div>"
    )


def test_formulas_lose_commands_and_braces() -> None:
    assert (
        plain_math(r"\left\{ \frac{\partial f}{\sqrt{x_{n}}} \right\} \leq 2^{10}") == "[ (∂ f)/(sqrt(x_n)) ] ≤ 2^(10)"
    )
    assert "{" not in plain_math(r"\a{\b{\c{\d{\e{\f{\g{\h{\i{\j{k}}}}}}}}}}")
