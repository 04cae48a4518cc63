"""ROUGE-L against the reference package, and the subsequence against its textbook definition."""

import random

import pytest

from tasks.evaluate.rouge import lcs_length, rouge_l, words


def _lcs_by_table(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_lcs_equals_the_dynamic_programming_table():
    generator = random.Random(7)
    for _ in range(300):
        alphabet = "abcdefgh"[: generator.randint(1, 8)]
        a = generator.choices(alphabet, k=generator.randint(0, 90))
        b = generator.choices(alphabet, k=generator.randint(0, 90))
        assert lcs_length(a, b) == _lcs_by_table(a, b)


def test_rouge_l_equals_the_reference_package_on_english():
    scorer_module = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = scorer_module.RougeScorer(["rougeL"], use_stemmer=False)
    generator = random.Random(11)
    vocabulary = [
        "Return",
        "the",
        "array's",
        "shape,",
        "a",
        "tuple_of",
        "ints;",
        "3.5",
        "--",
        "is",
        "N-D",
        "x",
        "(None)",
        "",
        "\n",
    ]
    for _ in range(400):
        reference = " ".join(generator.choices(vocabulary, k=generator.randint(0, 40)))
        answer = " ".join(generator.choices(vocabulary, k=generator.randint(0, 40)))
        assert rouge_l(reference, answer) == pytest.approx(
            scorer.score(reference, answer)["rougeL"].fmeasure, abs=1e-12
        )


def test_rouge_l_of_other_alphabets_equals_the_reference_package_given_our_words():
    scorer_module = pytest.importorskip("rouge_score.rouge_scorer")

    class OurWords:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    scorer = scorer_module.RougeScorer(["rougeL"], tokenizer=OurWords())
    pairs = [
        ("Возвращает размер массива.", "возвращает новый массив"),
        ("返回数组的形状。", "数组形状"),
        ("Größe des Feldes", "die Größe"),
    ]
    for reference, answer in pairs:
        assert rouge_l(reference, answer) == pytest.approx(
            scorer.score(reference, answer)["rougeL"].fmeasure, abs=1e-12
        )
        assert rouge_l(reference, answer) > 0


def test_the_marks_of_a_word_are_part_of_it():
    assert words("किताब पढ़ो।") == ["किताब", "पढ़ो"]
    assert rouge_l("किताब", "कातिब") == 0.0
    assert words("שָׁלוֹם") == ["שָׁלוֹם".replace("\ufb2a", "\u05e9\u05c1")]
    assert words("cafe\u0301 x\u0301y") == ["caf\u00e9", "x\u0301y"]
    assert rouge_l("caf\u00e9", "CAFE\u0301") == 1.0


def test_marks_alone_are_no_words():
    assert words("\u2764\ufe0f ok \u0301 _\u0301") == ["ok"]


def test_each_character_of_a_script_without_blanks_is_a_word():
    assert words("ดีมาก") == ["ดี", "ม", "า", "ก"]
    assert words("\u304b\u3099く") == ["が", "く"]
    assert words("データ・型") == ["デ", "ー", "タ", "型"]
    assert words("ab的cd") == ["ab", "的", "cd"]


def test_identical_texts_score_one_and_texts_without_words_zero():
    assert rouge_l("Close the file.", "close THE file") == 1.0
    assert rouge_l("", "close") == rouge_l("close", "") == rouge_l("...", "...") == 0.0
