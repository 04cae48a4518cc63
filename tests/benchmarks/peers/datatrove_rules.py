"""What datatrove's filters decide about texts, one rule at a time. Runs in datatrove's own venv.

    python datatrove_rules.py TEXTS.jsonl SPLITS.json OUTPUT.jsonl [--values]

TEXTS holds `id` and `text`. SPLITS holds what both sides must see alike: `words`, the words of each run of characters
between white space that is not one word, and `sentences`, how many sentences a line has (one where it says nothing).
A null in the place of either leaves datatrove its own tokeniser, spaCy's blank English.

Each rule is datatrove's own code: a filter with this rule switched on and all others off. A rule of C4 on lines tells
how many lines it drops, every other rule whether the text goes. With --values the figure behind a decision is told
too; datatrove keeps it to itself, so it is the threshold at which the decision turns, found by halving.
"""

import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

Make = Callable[[float], Any]  # a filter of one rule with this threshold

# Rule -> (filter of this rule alone, datatrove's own threshold, the largest value of interest).
RULES: dict[str, tuple[Make, float, float]] = {}
BELOW = {  # rules that drop what lies below their threshold; the others what lies above
    "gopher_min_words",
    "gopher_min_word_length",
    "gopher_alpha_words",
    "gopher_stop_words",
    "c4_sentences",
    "fineweb_terminal_lines",
}
LINE_RULES = {
    "c4_long_word_lines": "line-filter-too_long_word",
    "c4_short_lines": "line-filter-too_few_words",
    "c4_javascript_lines": "line-filter-javascript",
    "c4_policy_lines": "line-filter-policy",
}


def repetition(**on: Any) -> GopherRepetitionFilter:
    off = dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"))
    return GopherRepetitionFilter(**{**off, "top_n_grams": (), "dup_n_grams": (), **on})


def quality(**on: Any) -> GopherQualityFilter:
    off = dict.fromkeys(
        (
            "min_doc_words",
            "max_doc_words",
            "min_avg_word_length",
            "max_avg_word_length",
            "max_symbol_word_ratio",
            "max_bullet_lines_ratio",
            "max_ellipsis_lines_ratio",
            "max_non_alpha_words_ratio",
            "min_stop_words",
        )
    )
    return GopherQualityFilter(**{**off, **on})


def c4(**on: Any) -> C4QualityFilter:
    off = {
        "filter_no_terminal_punct": False,
        "min_num_sentences": -1,
        "filter_lorem_ipsum": False,
        "filter_curly_bracket": False,
    }
    return C4QualityFilter(**{**off, **on})


def fineweb(**on: Any) -> FineWebQualityFilter:
    off = {"line_punct_thr": -1, "short_line_thr": math.inf, "char_duplicates_ratio": math.inf}
    return FineWebQualityFilter(**{**off, "new_line_ratio": math.inf, **on})


def rules() -> None:
    """Fill `RULES`; the names are those of Sluice's presets."""
    for name, option, threshold in (
        ("gopher_duplicate_lines", "dup_line_frac", 0.3),
        ("gopher_duplicate_paragraphs", "dup_para_frac", 0.3),
        ("gopher_duplicate_line_chars", "dup_line_char_frac", 0.2),
        ("gopher_duplicate_paragraph_chars", "dup_para_char_frac", 0.2),
    ):
        RULES[name] = (lambda value, option=option: repetition(**{option: value}), threshold, 1)
    for n, threshold in ((2, 0.2), (3, 0.18), (4, 0.16)):
        RULES[f"gopher_top_{n}gram"] = (lambda value, n=n: repetition(top_n_grams=((n, value),)), threshold, 4)
    for n, threshold in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        RULES[f"gopher_duplicate_{n}grams"] = (lambda value, n=n: repetition(dup_n_grams=((n, value),)), threshold, 1)
    for name, option, threshold, largest in (
        ("gopher_min_words", "min_doc_words", 50, 1e6),
        ("gopher_max_words", "max_doc_words", 100_000, 1e6),
        ("gopher_min_word_length", "min_avg_word_length", 3, 1e6),
        ("gopher_max_word_length", "max_avg_word_length", 10, 1e6),
        ("gopher_hashes", "max_symbol_word_ratio", 0.1, 100),
        ("gopher_ellipses", "max_symbol_word_ratio", 0.1, 100),
        ("gopher_bullet_lines", "max_bullet_lines_ratio", 0.9, 1),
        ("gopher_ellipsis_lines", "max_ellipsis_lines_ratio", 0.3, 1),
        ("gopher_alpha_words", "max_non_alpha_words_ratio", 0.8, 1.1),
        ("gopher_stop_words", "min_stop_words", 2, 10),
    ):
        RULES[name] = (lambda value, option=option: quality(**{option: value}), threshold, largest)
    RULES["c4_sentences"] = (lambda value: c4(min_num_sentences=value), 5, 1e5)
    RULES["c4_lorem_ipsum"] = (lambda _: c4(filter_lorem_ipsum=True), 0, 0)
    RULES["c4_curly_brackets"] = (lambda _: c4(filter_curly_bracket=True), 0, 0)
    for name, option, threshold, largest in (
        ("fineweb_terminal_lines", "line_punct_thr", 0.12, 1.1),
        ("fineweb_short_lines", "short_line_thr", 0.67, 1),
        ("fineweb_duplicate_lines", "char_duplicates_ratio", 0.01, 1),
        ("fineweb_newlines", "new_line_ratio", 0.3, 100),
    ):
        RULES[name] = (lambda value, option=option: fineweb(**{option: value}), threshold, largest)


def drops(filter_: Any, name: str, text: str) -> bool | None:
    """Whether a rule drops a text; None where datatrove's code fails on it."""
    if name == "gopher_ellipses":  # shares its option with the rule on hashes, which comes first
        text = text.replace("#", "+")
    try:
        result = filter_.filter(Document(text=text, id=""))
    except ZeroDivisionError:
        return None
    if name == "gopher_hashes" and isinstance(result, tuple) and result[1] != "gopher_too_many_hashes":
        return False
    return isinstance(result, tuple) or not result


def value(name: str, text: str) -> float | None:
    """The threshold at which a rule's decision about a text turns; None for a rule without one."""
    make, _, high = RULES[name]
    low = 1e-9  # 0 switches rules off
    first, last = drops(make(low), name, text), drops(make(high), name, text)
    if first is None or not high:
        return None
    if first == last:
        return high if first != (name in BELOW) else 0.0
    while high - low > 1e-7 * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if drops(make(middle), name, text) == first else (low, middle)
    return high


def share_tokenisers(splits: Mapping[str, Any]) -> None:
    """Let datatrove's filters see the words and sentences that the other side saw."""
    words, sentences = splits["words"], splits["sentences"]
    if words is not None:

        def split_into_words(text: str, _language: str = "") -> list[str]:
            return [word for chunk in text.split() for word in words.get(chunk, (chunk,))]

        for module in (gopher_repetition_filter, gopher_quality_filter, fineweb_quality_filter):
            module.split_into_words = split_into_words
    if sentences is not None:
        c4_filters.split_into_sentences = lambda line, _language="": [""] * sentences.get(line, 1)


def lines_dropped(text: str) -> tuple[dict[str, int], str]:
    """What each line rule of C4 drops, and the text that is left."""
    filter_ = c4()
    counts: Counter[str] = Counter()
    filter_.stat_update = lambda *labels, **_: counts.update(labels)
    # Blank lines would count as lines of too few words.
    document = Document(text="\n".join(line for line in text.splitlines() if line.strip()), id="")
    filter_.filter(document)
    return {name: counts[label] for name, label in LINE_RULES.items()}, document.text


def keeps(text: str) -> bool:
    """Whether FineWeb's recipe after the language gate keeps a text: four filters, the third of which rewrites it."""
    document = Document(text=text, id="")
    filters = (GopherRepetitionFilter(), GopherQualityFilter(), c4(min_num_sentences=5), FineWebQualityFilter())
    filters[2].filter_lorem_ipsum = filters[2].filter_curly_bracket = True
    return all(filter_.filter(document) is True for filter_ in filters)


def main(texts: str, splits: str, output: str, with_values: bool) -> None:
    warnings.simplefilter("ignore")  # the mean of no words
    rules()
    share_tokenisers(json.loads(Path(splits).read_text(encoding="utf-8")))
    standing = {name: make(threshold) for name, (make, threshold, _) in RULES.items()}
    with Path(texts).open(encoding="utf-8") as lines, Path(output).open("w", encoding="utf-8") as out:
        for line in lines:
            page = json.loads(line)
            text = page["text"]
            dropped, left = lines_dropped(text)
            answer = {
                "id": page["id"],
                "drops": {name: drops(filter_, name, text) for name, filter_ in standing.items()},
                "lines": dropped,
                "clean": left,
                "keeps": keeps(text),
            }
            if with_values:
                answer["values"] = {name: value(name, text) for name in RULES}
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4], with_values="--values" in sys.argv)
