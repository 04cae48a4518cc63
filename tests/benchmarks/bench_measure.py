"""How fast `measure` is: milliseconds of CPU a document, beside a literal implementation of the same definitions.

    make bench-measure
    python -m tests.benchmarks.bench_measure --texts pages.jsonl      lines of {"text": ..., "url": ...}

`url` may be missing. Without --texts the documents are the docstrings of the standard library, joined to pages of about
the length of a web page. The literal implementation is the tests' reference (tests/tasks/filters/literal.py): plain
Python, no numpy, every family splitting the text again. CPU time of this one process; both sides see the same texts,
and their signals are compared while at it.
"""

import argparse
import ast
import json
import platform
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.filter import FilterParams, resolve_rules
from tasks.filters import c4, fineweb, gopher, language, outliers, pii, refinedweb, url, wordlists
from tasks.filters.characters import Lines
from tasks.filters.verdicts import apply_rules
from tasks.measure import SLICE, MeasureParams, measure_texts
from tasks.url_lists.lists import builtin_lists
from tasks.words import WordBatch, batches, split_text
from tests.tasks.filters import literal

PAGE_CHARS = 6_000  # mean of the pages that an extractor leaves of a crawl


def standard_library_pages() -> list[str]:
    """Docstrings of the standard library's modules, in order of path, joined to pages."""
    pages = [""]
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                pages[-1] += (ast.get_docstring(node) or "") + "\n\n"
                if len(pages[-1]) > PAGE_CHARS:
                    pages.append("")
    return pages


def families(texts: Sequence[str], urls: Sequence[str | None]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, what to time) for each part of `measure`, on documents split once."""
    documents = [split_text(text) for text in texts]
    numbered = list(batches(documents))
    slices = [documents[start : start + SLICE] for start in range(0, len(documents), SLICE)]
    lines = [Lines.of(part) for part in slices]
    lists = builtin_lists()
    yield "split into lines and words", lambda: [split_text(text) for text in texts]
    yield "number the words", lambda: list(batches(documents))
    yield "count the characters of lines", lambda: [Lines.of(part) for part in slices]
    yield "Gopher quality", lambda: [gopher.quality_signals(batch) for batch in numbered]
    yield "Gopher repetition", lambda: [gopher.repetition_signals(batch) for batch in numbered]
    yield "C4", lambda: [c4.page_signals(c4.judge_lines(document)) for document in documents]
    yield "RefinedWeb", lambda: [refinedweb.signals(refinedweb.judge_lines(part)) for part in lines]
    yield "FineWeb", lambda: [fineweb.line_signals(batch) for batch in numbered]
    yield "outliers: sizes, compression", lambda: [outliers.size_signals(part) for part in slices]
    yield "outliers: characters", lambda: [outliers.character_signals(part) for part in lines]
    yield "outliers: words, entropy", lambda: [outliers.word_signals(batch) for batch in numbered]
    yield "language", lambda: language.identify_languages(texts)
    yield "personal data", lambda: [pii.signals(text) for text in texts]
    yield "word lists, the built-in one", lambda: wordlists.signals(texts, None)
    yield "URL", lambda: [url.url_signals(address, lists) for address in urls]


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds of the faster of two calls."""
    best = float("inf")
    for _ in range(2):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def differences(texts: Sequence[str]) -> int:
    """Gopher signals on which the literal implementation says otherwise."""
    found: dict[str, list[float]] = {}
    for batch in batches(map(split_text, texts)):
        for name, values in _gopher(batch).items():
            found.setdefault(name, []).extend(values.tolist())
    differing = 0
    for d, text in enumerate(texts):
        for name, value in {**literal.quality(text), **literal.repetition(text)}.items():
            expected = float("nan") if value is None else value
            differing += not np.isclose(found[name][d], expected, rtol=1e-12, equal_nan=True)
    return differing


def main() -> None:
    """Time it and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=Path, help="JSON lines with a field `text`")
    arguments = parser.parse_args()
    if arguments.texts:
        with arguments.texts.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        texts, urls = [row["text"] for row in rows], [row.get("url") for row in rows]
    else:
        texts = standard_library_pages()
        urls = [f"https://docs.example.org/library/page{k}.html" for k in range(len(texts))]
    params = MeasureParams()
    measured = measure_texts(texts, urls, params)  # also loads the language model
    table = measured.add_column(0, "doc_id", pa.array([str(k) for k in range(len(texts))])).add_column(
        1, "row", pa.array(range(len(texts)), pa.int32())
    )
    rules = resolve_rules(FilterParams())
    kept, _, _ = apply_rules(table, rules)

    def line(name: str, seconds: float) -> None:
        print(f"{name:<44}{1e3 * seconds / len(texts):>10.3f}")

    words = sum(len(text.split()) for text in texts)
    print(f"{len(texts)} documents, {words / len(texts):.0f} words each; {platform.processor() or platform.machine()},")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, pyarrow {pa.__version__}; CPU ms a document\n")
    for name, work in families(texts, urls):
        line(name, timed(work))
    ours = timed(lambda: measure_texts(texts, urls, params))
    line("measure, all of it", ours)
    line(
        f"filter, {len(rules)} rules (keeps {kept.num_rows / len(texts):.0%})", timed(lambda: apply_rules(table, rules))
    )
    print()
    gopher_ours = timed(lambda: [_gopher(batch) for batch in batches(map(split_text, texts))])
    gopher_literal = timed(lambda: [(literal.quality(text), literal.repetition(text)) for text in texts])
    line("Gopher, both families, splitting included", gopher_ours)
    line("the same, literal", gopher_literal)
    print(f"{'ratio':<44}{gopher_literal / gopher_ours:>10.1f}")
    print(f"{'signals that differ':<44}{differences(texts):>10}")


def _gopher(batch: WordBatch) -> dict[str, Any]:
    return {**gopher.quality_signals(batch), **gopher.repetition_signals(batch)}


if __name__ == "__main__":
    main()
