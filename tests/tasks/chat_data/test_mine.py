"""What is mined from text as extraction leaves it, and what is not."""

import pytest

from tasks.chat_data.lines import is_heading, is_identifier, is_prose, paragraph, sentences, signature_name
from tasks.chat_data.mine import TEMPLATES, mine

REFERENCE = """\
numpy.ma.core, part 2
numpy.ma.core.getmask
getmask(a)
Return the mask of a masked array, or nomask.
Return the mask of a as an ndarray if a is a MaskedArray. To guarantee a full array of booleans, use getmaskarray.
Parameters of getmask
| a | array_like | Input MaskedArray for which the mask is required. |
What getmask returns
The mask itself, or the constant that stands for no mask at all.
Examples of getmask
>>> a.mask
array([[False,  True],
       [False, False]])
Result when mask == nomask
A longer example of getmask is left to the page of examples.
Module.register_buffer
register_buffer(name: str, tensor: Tensor | None, persistent: bool = True) -> None
New in version 1.4.
Add a buffer to the module.
This is typically used to register a buffer that should not be considered a model parameter.
"""
ARTICLE = """\
Storm Compatibility in Apache Flink
December 11, 2015 -
Apache Storm was one of the first distributed stream processing systems available in the open source space.
Since then, Storm has been growing in popularity, is used in production, and is the standard for
stream processing. It entered the incubator in 2013.
Executing Storm topologies with Flink#
The easiest way to use the Storm compatibility package is by executing a whole topology in Flink. Other ways exist.
- Run unmodified Storm topologies using Apache Flink benefiting from superior performance.
- Embed Storm code
Acknowledgements
Thanks to everyone who participated in the various discussions about this.
How to contribute code
Open an issue and describe what you want to change. Wait for an answer.
Why is the pool not larger?
A larger pool would only move the waiting from the client to the database.
"""
SPHINX = """\
numpy.linalg.det#
- linalg.det(a)[source]#
- Compute the determinant of an array.
  - Parameters:
    - a(…, M, M) array_like
    - Input array to compute determinants for.
Notes
The determinant is computed via LU factorization using the LAPACK
routine z/dgetrf.
"""


def asked(text: str) -> dict[str, str]:
    return {pair.question: pair.answer for pair in mine(text)}


def answers(text: str) -> list[str]:
    return [pair.answer for pair in mine(text)]


def test_reference_pages_give_a_question_a_name() -> None:
    pairs = mine(REFERENCE)
    assert [(pair.kind, pair.answer) for pair in pairs] == [
        (pairs[0].kind, "Return the mask of a masked array, or nomask."),
        ("returns", "The mask itself, or the constant that stands for no mask at all."),
        (pairs[2].kind, "Add a buffer to the module."),
    ]
    assert pairs[0].kind in ("summary", "signature") and "getmask" in pairs[0].question
    assert pairs[2].kind in ("summary", "signature") and "register_buffer" in pairs[2].question


def test_articles_give_a_question_a_heading() -> None:
    found = mine(ARTICLE)
    assert [pair.kind for pair in found] == ["title", "section", "howto", "question"]
    assert found[0].answer.startswith("Apache Storm was one of the first")
    assert '"Executing Storm topologies with Flink"' in found[1].question
    assert found[1].answer == (
        "The easiest way to use the Storm compatibility package is by executing a whole topology in Flink."
    )
    assert found[2].question in {template.format(subject="contribute code") for template in TEMPLATES["howto"]}
    assert found[2].answer == "Open an issue and describe what you want to change. Wait for an answer."
    assert found[3].question == "Why is the pool not larger?"


def test_definition_lists_of_sphinx_pages_are_read_through_their_bullets() -> None:
    found = mine(SPHINX)
    assert [pair.answer for pair in found] == ["Compute the determinant of an array."]
    assert "linalg.det" in found[0].question


def test_the_wording_depends_on_the_subject_only() -> None:
    alone = mine("sunau\nThis module reads and writes the audio files of old workstations.\n")
    among = mine("Intro\n\nSome text that is here.\nsunau\n")
    assert mine(ARTICLE + "\n" + REFERENCE)[0] == mine(ARTICLE)[0]
    assert alone and not among


@pytest.mark.parametrize(
    "text",
    [
        "Parameters\nThe parameters of this function are described in the manual of the package.",
        "Shopping\nClick here to see all the offers that we have for you today.",
        "Privacy notice\nThis site uses cookies to give you the best of all experiences.",
        "result = compute(x)\nThe result is the sum of all the numbers in the list.",
        "Hinweise zur Installation\nDas Programm wird mit einem einzigen Befehl auf dem Rechner eingerichtet.",
        "Table of values\n| 1 | 2 | 3 |",
        "Loading order\nThe order is as follows:",
        "Loading order\nshort.",
        "Numbers 1 2 3 4 5 6 7\nThe rows of a table are no heading for the paragraph after them.",
        "The caller waits until the\nSecond Line Of It\nThe rest of the paragraph is here and it is long enough.",
        "Loading order\nThe order of loading is the (unclosed bracket of the order.",
        "",
    ],
)
def test_nothing_is_asked_about(text: str) -> None:
    assert mine(text) == []


def test_an_answer_adds_to_the_question() -> None:
    assert mine("Return the mask of an array\nReturn the mask of an array.") == []


def test_answers_are_bounded_and_end_as_sentences() -> None:
    long = "Loading order\n" + "The order in which the parts are loaded matters a great deal here " * 10 + "."
    assert mine(long) == []
    two = "Loading order\nThe order of the parts matters. " + "It is decided by the configuration " * 9 + "of it."
    assert answers(two) == ["The order of the parts matters."]
    for pair in mine(REFERENCE) + mine(ARTICLE):
        assert pair.answer[-1] in ".!" and len(pair.answer) <= 320


def test_a_short_sentence_brings_the_next_one() -> None:
    text = "Module.freeze\nMake the module immutable. It cannot be thawed again later."
    assert answers(text) == ["Make the module immutable. It cannot be thawed again later."]


def test_one_word_headings_carry_the_title_of_their_page() -> None:
    text = "The Flink Handbook\n\nTraining\nVerified trainers offer courses for everybody who wants to learn."
    assert any("Training (The Flink Handbook)" in question for question in asked(text))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("jacobian(func, inputs, create_graph=False)", "jacobian"),
        ("class Module", None),
        ("class MagicMock(MagicMixin, Mock)", "MagicMock"),
        ("def f(x: int = g(1)) -> int:", "f"),
        ("linalg.det(a)", "linalg.det"),
        ('print("hello")', None),
        ("x = f(a)", None),
        ("Some words (in brackets)", None),
        ("f(" + "a, " * 100 + "b)", None),
    ],
)
def test_signatures(line: str, name: str | None) -> None:
    assert signature_name(line) == name


@pytest.mark.parametrize("line", ["json.loads", "getmask_array", "DataFrame", "run()", "std::vector", "a.b.c"])
def test_names_of_code(line: str) -> None:
    assert is_identifier(line)


@pytest.mark.parametrize("line", ["Description", "usage", "two words", "a-b", "3.14"])
def test_words_are_not_names_of_code(line: str) -> None:
    assert not is_identifier(line)


@pytest.mark.parametrize("line", ["Loading order", "2.4. Subsequent steps", "Why is it slow?", "Step 3: Bake", "sunau"])
def test_headings(line: str) -> None:
    assert is_heading(line)


@pytest.mark.parametrize(
    "line",
    [
        "It is over.",
        "the rest of a sentence",
        "which goes on and on until the",
        "| a | b |",
        "December 11, 2015",
        ">>> run()",
        "Wir bauen. Ein",
        "x" * 100,
        "",
    ],
)
def test_lines_that_are_no_headings(line: str) -> None:
    assert not is_heading(line)


def test_prose_has_words_in_lower_case_and_few_signs() -> None:
    assert is_prose("Return the mask of an array")
    assert not is_prose("A B C D E")
    assert not is_prose("Foo[1] = {2: 3}, (4), [5] the")
    assert not is_prose("lower case begins no paragraph here")


def test_sentences_do_not_end_at_abbreviations_versions_or_names() -> None:
    text = "Use e.g. numpy 1.5 or file.txt, cf. J. Smith. It works (mostly.) Really? And this is cut"
    assert list(sentences(text)) == ["Use e.g. numpy 1.5 or file.txt, cf. J. Smith.", "It works (mostly.)", "Really?"]


def test_wrapped_paragraphs_are_joined_up_to_a_sentence_end() -> None:
    assert (
        paragraph(["The first half", "of the sentence. Next", "More"], 0) == "The first half of the sentence. Next More"
    )
    assert paragraph(["A whole sentence.", "Another line."], 0) == "A whole sentence."
    assert paragraph(["Open line", ">>> code"], 0) == "Open line"


@pytest.mark.parametrize("following", ["Future.return_value", "return_value() -> T", "class Future(Base)", "run()"])
def test_a_paragraph_ends_where_the_next_definition_begins(following: str) -> None:
    assert paragraph(["The value sent", "by its sender", following, "The value of the future."], 0) == (
        "The value sent by its sender"
    )


def test_an_answer_does_not_run_over_into_the_next_definition() -> None:
    text = (
        "Future.sender\nsender() -> T\nThe value that was sent by its sender\n"
        "Future.return_value\nreturn_value() -> T\nThe return value of the future.\n"
        "Future.reset\nForget the value. For use between tests\nFuture.close\nLet go of the future for ever.\n"
    )
    assert answers(text) == ["The return value of the future.", "Let go of the future for ever."]


def test_a_line_of_a_megabyte_costs_no_time_and_breaks_nothing() -> None:
    assert mine("a" + " " * 1_000_000 + "b\n" + "; " * 500_000 + "\nHeading\n" + "The word " * 200_000) == []
