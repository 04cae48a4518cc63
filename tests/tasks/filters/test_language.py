import sys

import pytest

from infra.errors import EnvironmentProblem
from tasks.filters import language
from tasks.filters.language import identify_languages, model_path

TEXTS = {
    "en": "The river rises in the hills\nand reaches the sea after a hundred miles.",
    "de": "Der Fluss entspringt in den Bergen und mündet nach hundert Meilen ins Meer.",
    "fr": "La rivière prend sa source dans les collines et se jette dans la mer.",
    "ja": "川は丘に源を発し、海に注ぎます。",
}


def test_languages_are_told_apart_over_line_ends():
    languages, scores = identify_languages(list(TEXTS.values()))
    assert languages == list(TEXTS)
    assert all(0.65 < score <= 1 for score in scores)


def test_the_models_own_word_for_the_end_of_a_line_ends_no_text():
    assert identify_languages(["the </s> " + TEXTS["fr"], "</s>"])[0] == ["fr", None]


def test_a_score_does_not_depend_on_the_other_texts():
    together = identify_languages(list(TEXTS.values()))
    alone = [identify_languages([text]) for text in TEXTS.values()]
    assert [(labels[0], scores[0]) for labels, scores in alone] == list(zip(*together, strict=True))


def test_scores_have_four_decimals():
    _, scores = identify_languages(list(TEXTS.values()))
    assert all(score == round(score, 4) for score in scores)


def test_a_text_without_words_has_no_language():
    assert identify_languages(["", " \n ", TEXTS["en"]])[0] == [None, None, "en"]


def test_no_texts_give_no_languages():
    assert identify_languages([]) == ([], [])


def test_the_package_that_carries_the_model_is_not_imported():
    identify_languages(["a text"])
    assert model_path().is_file()
    assert language.MODEL_PACKAGE not in sys.modules


def test_a_missing_model_says_what_to_install(monkeypatch):
    monkeypatch.setattr(language, "MODEL_PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentProblem, match="make setup"):
        model_path()
