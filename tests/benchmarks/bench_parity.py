"""Do our rules decide as datatrove's? Decisions a rule, on the same texts, with the same words and sentences.

    make bench-parity ARGS="--peer-python .peers/datatrove/bin/python --texts pages.jsonl"

--texts holds lines of {"text": ...}, with an "id" if there is one; without it the pages are the docstrings of the
standard library. Every rule of the presets gopher_repetition, gopher_quality, c4 and fineweb decides alone, on the text
as it is, in any language. datatrove's side is its own code, a filter for each rule (peers/datatrove_rules.py). By
default it is given our words and sentences, so that what differs is the rule; --own-tokeniser leaves it spaCy's, so
that what differs is all that a user would see (choose --words punctuation then).

Behind the page rules: C4's rules on lines, which agree on a page when both drop as many lines of it; the text that C4
leaves, white space at the ends of lines aside; and the recipe of FineWeb as a whole (Gopher on the text as it is,
FineWeb's rules on what C4 left). --show N prints the pages on which a rule disagrees, with both values.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.filters import c4, fineweb, gopher
from tasks.filters.rules import Rule, fires, preset
from tasks.words import WordDefinition, batches, split_text, split_words
from tests.benchmarks.bench_measure import standard_library_pages

PEER_SCRIPT = Path(__file__).parent / "peers" / "datatrove_rules.py"
PEER_REQUIREMENTS = "tests/benchmarks/peers/datatrove.txt"
PRESETS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
LINE_RULES = ("c4_long_word_lines", "c4_short_lines", "c4_javascript_lines", "c4_policy_lines")

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Page:
    """A text and what we make of it."""

    id: str
    text: str
    clean: str
    """What C4's line rules leave of it."""


@dataclass(frozen=True)
class Row:
    """One line of the table: on how many pages something holds for each side, and on which they disagree."""

    name: str
    ours: int
    theirs: int
    differing: list[int]


def read_pages(path: Path | None) -> list[Page]:
    """The pages of a JSON lines file, or of the standard library."""
    if path is None:
        rows: list[dict[str, Any]] = [{"text": text} for text in standard_library_pages()]
    else:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    return [
        Page(str(row.get("id", k)), row["text"], c4.clean_text(c4.judge_lines(split_text(row["text"])).kept))
        for k, row in enumerate(rows)
    ]


def count_signals(texts: Sequence[str], words: WordDefinition) -> pa.Table:
    """Our signals of the three families, one row a text."""
    documents = [split_text(text, words) for text in texts]
    columns: dict[str, list[Any]] = {}
    for batch in batches(documents):
        counted = {**gopher.quality_signals(batch), **gopher.repetition_signals(batch), **fineweb.line_signals(batch)}
        for name, values in counted.items():
            columns.setdefault(name, []).extend(values.tolist())
    for document in documents:
        for name, value in c4.page_signals(c4.judge_lines(document)).items():
            columns.setdefault(name, []).append(value)
    fields = [field for family in (gopher, c4, fineweb) for field in family.SIGNALS]
    return pa.table({field.name: pa.array(columns[field.name], field.type, from_pandas=True) for field in fields})


def shared_splits(pages: Sequence[Page], words: WordDefinition) -> dict[str, dict[str, Any]]:
    """Our words and sentences, for the other side: what stands between white space -> words, line -> sentences."""
    chunks = {chunk for page in pages for text in (page.text, page.clean) for chunk in text.split()}
    cut = {chunk: split_words(chunk, words) for chunk in chunks}
    lines = {c4.CITATION.sub("", line.strip()) for page in pages for line in page.text.splitlines()}
    sentences = {line: c4.count_sentences(line) for line in lines}
    return {
        "words": {chunk: found for chunk, found in cut.items() if found != [chunk]},
        "sentences": {line: n for line, n in sentences.items() if n != 1},
    }


def ask_peer(python: Path, pages: Sequence[Page], splits: dict[str, Any], values: bool = False) -> list[dict[str, Any]]:
    """datatrove's decisions about pages, in order; `values` tells what they were made on, which takes far longer."""
    with tempfile.TemporaryDirectory() as folder:
        texts, shared, answers = (Path(folder) / name for name in ("texts.jsonl", "splits.json", "answers.jsonl"))
        texts.write_text("".join(json.dumps({"id": page.id, "text": page.text}) + "\n" for page in pages), "utf-8")
        shared.write_text(json.dumps(splits), "utf-8")
        command = [str(python), str(PEER_SCRIPT), str(texts), str(shared), str(answers)]
        subprocess.run([*command, "--values"] if values else command, check=True)
        return [json.loads(line) for line in answers.read_text("utf-8").splitlines()]


def compare(
    pages: Sequence[Page], table: pa.Table, clean_table: pa.Table, answers: Sequence[dict[str, Any]]
) -> list[Row]:
    """The rows of the table. Where datatrove's code fails on a page it decides nothing: that counts as keeping it."""
    rows = [
        _row(rule.name, fires(table, rule), np.array([bool(answer["drops"][rule.name]) for answer in answers]))
        for rule in page_rules()
    ]
    for name in LINE_RULES:
        ours, theirs = table.column(name).to_numpy(), np.array([answer["lines"][name] for answer in answers])
        rows.append(Row(name, _count(ours > 0), _count(theirs > 0), np.flatnonzero(ours != theirs).tolist()))
    ours_left = [_bare_lines(page.clean) for page in pages]
    theirs_left = [_bare_lines(answer["clean"]) for answer in answers]
    differing = [k for k, (ours, theirs) in enumerate(zip(ours_left, theirs_left, strict=True)) if ours != theirs]
    rows.append(Row("text left by C4", sum(map(bool, ours_left)), sum(map(bool, theirs_left)), differing))
    dropped = _any_fires(table, PRESETS[:3]) | _any_fires(clean_table, PRESETS[3:])
    rows.append(_row("FineWeb's recipe", dropped, np.array([not answer["keeps"] for answer in answers])))
    return rows


def page_rules() -> list[Rule]:
    """The rules of all presets that datatrove has too."""
    return [rule for name in PRESETS for rule in preset(name)]


def _any_fires(table: pa.Table, presets: Sequence[str]) -> BoolArray:
    rules = [rule for name in presets for rule in preset(name)]
    return np.any([fires(table, rule) for rule in rules], axis=0)


def _row(name: str, ours: BoolArray, theirs: BoolArray) -> Row:
    return Row(name, _count(ours), _count(theirs), np.flatnonzero(ours != theirs).tolist())


def _count(hits: BoolArray) -> int:
    return int(np.count_nonzero(hits))


def _bare_lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def show(
    rows: Sequence[Row], pages: Sequence[Page], table: pa.Table, python: Path, splits: dict[str, Any], limit: int
) -> None:
    """Print up to `limit` pages a row on which the sides disagree, with both values where a rule has one."""
    chosen = sorted({k for row in rows for k in row.differing[:limit]})
    theirs = dict(zip(chosen, ask_peer(python, [pages[k] for k in chosen], splits, values=True), strict=True))
    signals = {rule.name: rule.signal for rule in page_rules()}
    print(f"\n{'rule':<34}{'ours':>12}{'datatrove':>12}  page")
    for row in rows:
        for k in row.differing[:limit]:
            ours_value: Any = table.column(signals.get(row.name, row.name))[k].as_py() if row.name in _VALUED else None
            value = theirs[k]["values"].get(row.name, theirs[k]["lines"].get(row.name))
            print(f"{row.name:<34}{_number(ours_value):>12}{_number(value):>12}  {pages[k].id}")


_VALUED = {*LINE_RULES, *(rule.name for rule in page_rules())}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def main() -> None:
    """Compare and print; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer-python", type=Path, help="interpreter of a venv with datatrove in it")
    parser.add_argument("--texts", type=Path, help="JSON lines with a field `text`, and `id` if there is one")
    parser.add_argument("--words", choices=get_args(WordDefinition), default="whitespace", help="what a word is")
    parser.add_argument("--own-tokeniser", action="store_true", help="let datatrove cut words and sentences itself")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print up to N disagreements a rule")
    arguments = parser.parse_args()
    if arguments.peer_python is None:
        sys.exit(
            f"No --peer-python: make a venv of its own, install {PEER_REQUIREMENTS} in it and name its python here."
        )
    pages = read_pages(arguments.texts)
    splits: dict[str, Any] = {"words": None, "sentences": None}
    if not arguments.own_tokeniser:
        splits = shared_splits(pages, arguments.words)
    table = count_signals([page.text for page in pages], arguments.words)
    clean_table = count_signals([page.clean for page in pages], arguments.words)
    answers = ask_peer(arguments.peer_python, pages, splits)
    rows = compare(pages, table, clean_table, answers)
    theirs = "its own" if arguments.own_tokeniser else "the same"
    print(f"{len(pages)} pages; words: {arguments.words}; datatrove's words and sentences: {theirs}\n")
    print(f"{'pages dropped by':<34}{'ours':>8}{'datatrove':>11}{'agreement':>12}{'pages':>8}")
    for row in rows:
        agreement = 1 - len(row.differing) / max(1, len(pages))
        print(f"{row.name:<34}{row.ours:>8}{row.theirs:>11}{agreement:>12.3%}{len(row.differing):>8}")
    if arguments.show:
        show(rows, pages, table, arguments.peer_python, splits, arguments.show)


if __name__ == "__main__":
    main()
