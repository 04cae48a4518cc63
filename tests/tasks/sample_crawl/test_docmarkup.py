"""Docstring markup becomes the right blocks, whatever its dialect."""

from tasks.sample_crawl.blocks import Code, Definitions, Field, Fields, Formula, Heading, Items, Note, Paragraph, Table
from tasks.sample_crawl.docmarkup import parse


def test_paragraphs_are_joined_and_white_space_collapsed() -> None:
    assert parse("One sentence.  And\nits end.\n\nAnother.") == [
        Paragraph("One sentence. And its end."),
        Paragraph("Another."),
    ]


def test_numpydoc_parameters_become_fields() -> None:
    text = (
        "Sum.\n\nParameters\n----------\na : array_like\n    The data.\naxis : {0, 1}, optional\n"
        "    Which one.\n\nReturns\n-------\nfloat\n    The sum."
    )
    assert parse(text) == [
        Paragraph("Sum."),
        Fields("Parameters", (
            Field("a", "array_like", (Paragraph("The data."),)),
            Field("axis", "{0, 1}, optional", (Paragraph("Which one."),)),
        )),
        Fields("Returns", (Field("float", "", (Paragraph("The sum."),)),)),
    ]  # fmt: skip


def test_google_sections_become_fields_and_headings() -> None:
    text = (
        "Open.\n\nArgs:\n    path (str): Where it is,\n        on this disk.\n    mode: How.\n\nExample:\n"
        "    >>> 1 + 1\n    2"
    )
    assert parse(text) == [
        Paragraph("Open."),
        Fields("Args", (
            Field("path", "str", (Paragraph("Where it is, on this disk."),)),
            Field("mode", "", (Paragraph("How."),)),
        )),
        Heading("Example", 2),
        Code(">>> 1 + 1\n2"),
    ]  # fmt: skip


def test_field_lists_join_type_and_description() -> None:
    text = (
        ":param int n: How many.\n:param name: Whose.\n:type name: str\n:returns: All of them.\n"
        ":raises KeyError: When absent."
    )
    assert parse(text) == [
        Fields(
            "Parameters", (Field("n", "int", (Paragraph("How many."),)), Field("name", "str", (Paragraph("Whose."),)))
        ),
        Fields("Returns", (Field("", "", (Paragraph("All of them."),)),)),
        Fields("Raises", (Field("KeyError", "", (Paragraph("When absent."),)),)),
    ]


def test_lists_keep_their_nesting() -> None:
    text = "Steps:\n\n- first\n  and more\n\n  - inner\n- second\n\n1. one\n2. two"
    assert parse(text) == [
        Paragraph("Steps:"),
        Items(((Paragraph("first and more"), Items(((Paragraph("inner"),),))), (Paragraph("second"),))),
        Items(((Paragraph("one"),), (Paragraph("two"),)), ordered=True),
    ]


def test_literal_blocks_and_doctests_are_code() -> None:
    text = "Use it so::\n\n    import this\n\n    print(this)\n\nor so:\n\n>>> this.s\n'x'\n\nDone."
    assert parse(text) == [
        Paragraph("Use it so:"),
        Code("import this\n\nprint(this)"),
        Paragraph("or so:"),
        Code(">>> this.s\n'x'"),
        Paragraph("Done."),
    ]


def test_directives_become_notes_formulas_or_nothing() -> None:
    text = (
        ".. versionadded:: 3.2\n   The flag.\n\n.. note:: Mind the gap.\n\n.. math::\n   \\frac{a}{b_{i}}\n\n"
        ".. image:: x.png\n\n.. _target:\n\nEnd."
    )
    assert parse(text) == [
        Note("versionadded", "3.2", (Paragraph("The flag."),)),
        Note("note", "", (Paragraph("Mind the gap."),)),
        Formula("(a)/(b_i)"),
        Paragraph("End."),
    ]


def test_indented_prose_stays_prose_and_indented_code_becomes_code() -> None:
    assert parse("Say:\n\n    A whole sentence about the thing, nothing else.") == [
        Paragraph("Say:"),
        Paragraph("A whole sentence about the thing, nothing else."),
    ]
    assert parse("Say:\n\n    x = f(1)\n    y = g(x)") == [Paragraph("Say:"), Code("x = f(1)\ny = g(x)")]


def test_definition_lists() -> None:
    assert parse("Class A:\n    Does this.\n\nClass B:\n    Does that.") == [
        Definitions((("Class A:", (Paragraph("Does this."),)), ("Class B:", (Paragraph("Does that."),))))
    ]


def test_tables_of_both_kinds() -> None:
    simple = "=====  ======\nCode   Means\n=====  ======\n'r'    read\n       only\n'w'    write\n=====  ======"
    assert parse(simple) == [Table((("Code", "Means"), ("'r'", "read only"), ("'w'", "write")))]
    grid = "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+"
    assert parse(grid) == [Table((("a", "b"), ("1", "2")))]


def test_every_text_is_parsed_to_the_end() -> None:
    # Shapes that made earlier versions of the parser stand still or fail.
    for text in (
        "..",
        "...",
        "====",
        "-",
        "- ",
        "1.",
        "::",
        ">>>",
        "```",
        "+--+",
        "== ==",
        ":param",
        "> ",
        "a\n  b\n c",
        " x\ny\n",
    ):
        assert isinstance(parse(text), list)
