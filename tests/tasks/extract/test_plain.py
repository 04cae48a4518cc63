"""Plain text: what resiliparse reads, and the gate of languages and words."""

import pytest

from tasks.extract.gates import Skip
from tasks.extract.plain import PlainTextGate, count_words, main_text, plain_text
from tests.miniature import ENGLISH, html_page

GERMAN = (
    "<html><body><p>Der Sauerteig ruht über Nacht im Kühlschrank, damit die Hefen langsam arbeiten und das Brot am"
    " nächsten Morgen einen kräftigen Geschmack und eine feine Kruste bekommt. Wer keine Zeit hat, lässt ihn bei"
    " Zimmertemperatur gehen und backt ihn schon nach sechs Stunden, was dem Teig nicht schadet.</p></body></html>"
)
PAGE = html_page(ENGLISH["bread"])


def gate(*languages: str, min_score: float = 0.3, min_words: int = 20) -> PlainTextGate:
    return PlainTextGate(languages or ("en",), min_score, min_words)


def test_wanted_languages_pass() -> None:
    assert gate("en")(PAGE) is None
    assert gate("de")(GERMAN) is None
    assert gate("fr", "de")(GERMAN) is None


def test_pages_surely_in_another_language_go() -> None:
    skip = gate("en")(GERMAN)
    assert skip is not None
    assert (skip.reason, skip.detail[:3]) == ("plain_language", "de ")
    assert gate("de")(PAGE).reason == "plain_language"


def test_a_threshold_of_zero_lets_every_language_pass() -> None:
    assert gate("en", min_score=0)(GERMAN) is None


@pytest.mark.parametrize(
    ("language", "score", "passes"),
    [
        ("en", 0.9, True),
        ("en", 0.3, True),
        ("en", 0.29, False),
        ("de", 0.9, False),
        ("de", 0.5, True),
        ("de", 0.2, False),
    ],
)
def test_what_is_known_of_a_wanted_language(
    language: str, score: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.filters.language.identify_languages", lambda _texts, _model: ([language], [score]))
    assert (gate("en")(PAGE) is None) == passes


def test_pages_with_too_few_words_go_whatever_their_language() -> None:
    assert gate()("<html><body><p>Moved. <a href='/x'>Here</a></body></html>") == Skip("plain_words", "2 words")
    assert gate(min_words=0)("<html><body></body></html>") is None


def test_menus_count() -> None:
    n_words = count_words(plain_text(PAGE))
    assert gate(min_words=n_words)(PAGE) is None
    assert gate(min_words=n_words + 1)(PAGE).reason == "plain_words"


def test_scripts_without_spaces_count_by_character() -> None:
    assert count_words("two words") == 2
    assert count_words("本を読む人") >= 5


def test_a_script_closed_as_in_xhtml_does_not_swallow_the_page() -> None:
    xhtml = "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><script src='a.js'/><title/></head>"
    xhtml += PAGE[PAGE.index("<body>") :]
    assert "wild yeast" in plain_text(xhtml)
    assert "wild yeast" in main_text(xhtml)


def test_scripts_and_styles_are_no_text() -> None:
    assert plain_text("<style>p {}</style><script>var x</script><p>seen</p>").strip() == "seen"
