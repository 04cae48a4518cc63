import random
import sys

import pytest

from tasks.filters import characters
from tasks.filters.characters import Lines
from tasks.words import split_text

TEXT = "HELLO you 123\n\n  Ärger, 東京 ²³ x!\n"


def test_kinds_are_counted_line_by_line():
    lines = Lines.of([split_text(TEXT)])
    assert lines.texts == ["HELLO you 123", "Ärger, 東京 ²³ x!"]
    assert lines.n_words.tolist() == [3, 4]
    assert lines.n_chars.tolist() == [13, 15]
    assert lines.n_upper.tolist() == [5, 1]
    assert lines.n_digits.tolist() == [3, 2]
    assert lines.n_symbols.tolist() == [0, 2]
    assert lines.n_spaces.tolist() == [2, 3]


def test_sums_by_document_with_empty_ones_between():
    documents = [split_text(text) for text in ("", "A b\nC", "\n\n", "dd")]
    lines = Lines.of(documents)
    assert lines.offsets.tolist() == [0, 0, 2, 2, 3]
    assert lines.per_document(lines.n_upper).tolist() == [0, 2, 0, 0]
    assert lines.per_document(lines.n_chars).tolist() == [0, 4, 0, 2]
    assert lines.document_of.tolist() == [1, 1, 3]


def test_no_documents_have_no_lines():
    assert Lines.of([]).offsets.tolist() == [0]
    assert Lines.of([split_text("")]).n_chars.tolist() == []


def test_the_table_of_kinds_agrees_with_python_on_any_character():
    drawn = random.Random(1)
    codes = [*range(0x500), *(drawn.randrange(0x110000) for _ in range(3_000)), sys.maxunicode]
    kinds = characters._kinds()
    for code in codes:
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        assert bool(kinds[code] & characters.UPPER) == character.isupper(), hex(code)
        assert bool(kinds[code] & characters.DIGIT) == character.isdigit(), hex(code)
        assert bool(kinds[code] & characters.SPACE) == character.isspace(), hex(code)
        assert bool(kinds[code] & characters.SYMBOL) == (not character.isalnum() and not character.isspace()), hex(code)


@pytest.mark.slow
def test_no_letter_lies_behind_the_last_one_asked_for():
    behind = map(chr, range(characters.LAST_LETTERS, 0x110000))
    assert not any(one.isalnum() or one.isspace() or one.isupper() for one in behind)
