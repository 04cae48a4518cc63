"""How much of the main text extraction finds, how much else it takes for it, and what a page costs.

    make bench-extraction
    python -m tests.benchmarks.bench_extraction --gold FOLDER

FOLDER holds `ground-truth.json` ({id: {"articleBody": text, …}}) and `html/ID.html.gz`, as the article extraction
benchmark of Scrapinghub (2020) and its successors are laid out. Without it there is nothing to measure, and it says so.

Score, as there: multiset 4-grams of `\\w+`; true positives, false positives and false negatives of a page are divided
by their sum, so that a long page weighs no more than a short one; F1 is that of the mean precision and recall.
CPU time is of this one process, parsing included, the faster of two passes; every extractor sees the decoded page.
readability-lxml, newspaper and others are compared when they are installed.
"""

import argparse
import gzip
import importlib.util
import json
import logging
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tasks.extract.lean import use_lean_trafilatura
from tasks.extract.page import ExtractionOptions, Page, extract_page

SHINGLE_WORDS = 4
CAPTURED_ON = "2024-05-18"  # upper bound for dates; the pages are older
_WORD = re.compile(r"\w+")

Extract = Callable[[str], str]


class GoldPage(NamedTuple):
    """A page and the text that people found in it."""

    html: str
    text: str


class Score(NamedTuple):
    """Means over pages, and what a page cost."""

    f1: float
    precision: float
    recall: float
    empty: int
    ms: float


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """Counts of a text's 4-grams of words; one shorter than that is one shingle."""
    words = _WORD.findall(text)
    return Counter(tuple(words[k : k + SHINGLE_WORDS]) for k in range(max(1, len(words) - SHINGLE_WORDS + 1)) if words)


def page_score(gold: str, found: str) -> tuple[float, float, float]:
    """(true positives, false positives, false negatives) of a page, as shares of their sum."""
    expected, got = shingles(gold), shingles(found)
    true = sum((expected & got).values())
    false, missed = sum((got - expected).values()), sum((expected - got).values())
    whole = (true + false + missed) or 1
    return true / whole, false / whole, missed / whole


def score(pages: list[GoldPage], extract: Extract) -> Score:
    """Score one extractor on all pages."""
    seconds = float("inf")
    for _ in range(2):
        start = time.process_time()
        texts = [extract(page.html) for page in pages]
        seconds = min(seconds, time.process_time() - start)
    shares = [page_score(page.text, text) for page, text in zip(pages, texts, strict=True)]
    true, false, missed = (sum(column) for column in zip(*shares, strict=True))
    precision, recall = true / (true + false), true / (true + missed)
    f1 = 2 * precision * recall / (precision + recall)
    return Score(f1, precision, recall, sum(not text.strip() for text in texts), 1e3 * seconds / len(pages))


def read_gold(folder: Path) -> list[GoldPage]:
    """The pages of a folder, by id."""
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    return [
        GoldPage(
            gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()).decode("utf-8", "replace"),
            truth[name]["articleBody"],
        )
        for name in sorted(truth)
    ]


def peers() -> Iterator[tuple[str, Extract]]:
    """Other extractors, those that are installed; trafilatura as its users call it."""
    from resiliparse.extract.html2text import extract_plain_text
    from trafilatura import extract

    def trafilatura(**options: Any) -> Extract:
        return lambda html: extract(html, include_comments=False, **options) or ""

    yield "trafilatura", trafilatura()
    yield "trafilatura favor_precision", trafilatura(favor_precision=True)
    yield "trafilatura favor_recall", trafilatura(favor_recall=True)
    yield "trafilatura fast", trafilatura(fast=True)
    yield "resiliparse main_content", lambda html: extract_plain_text(html, main_content=True)
    yield "resiliparse all text", lambda html: extract_plain_text(html, main_content=False)
    if importlib.util.find_spec("readability"):
        yield "readability-lxml", _readability
    if importlib.util.find_spec("newspaper"):
        yield "newspaper", _newspaper


def _readability(html: str) -> str:
    from lxml.html import fromstring
    from readability import Document

    return str(fromstring(Document(html).summary()).text_content())


def _newspaper(html: str) -> str:
    from newspaper import Article

    article = Article("http://page.example/")
    article.set_html(html)
    article.parse()
    return str(article.text)


def ours() -> Iterator[tuple[str, Extract]]:
    """Each mode of `extract`, as its child process works."""

    def page_text(options: ExtractionOptions) -> Extract:
        def text(html: str) -> str:
            found = extract_page(html, CAPTURED_ON, options)
            return found.text if isinstance(found, Page) else ""

        return text

    for name, options in (
        ("precision, the default", ExtractionOptions()),
        ("precision, fast", ExtractionOptions(fast=True)),
        ("balanced", ExtractionOptions(mode="balanced")),
        ("balanced, fast", ExtractionOptions(mode="balanced", fast=True)),
        ("recall", ExtractionOptions(mode="recall")),
        ("precision, metadata searched", ExtractionOptions(metadata="searched")),
        ("precision, not verbatim, no metadata", ExtractionOptions(verbatim=False, metadata="off")),
    ):
        yield f"extract: {name}", page_text(options)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--gold", type=Path, help="folder with ground-truth.json and html/ID.html.gz")
    arguments = parser.parse_args()
    if arguments.gold is None:
        print("bench-extraction needs pages with known text: --gold FOLDER (ground-truth.json, html/ID.html.gz)")
        return
    logging.disable(logging.CRITICAL)  # trafilatura remarks on single pages
    pages = read_gold(arguments.gold)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("trafilatura", "resiliparse", "lxml"))
    print(f"{len(pages)} pages, {sum(len(page.html) for page in pages) / len(pages) / 1e3:.0f} kB each; {libraries};")
    print(f"Python {platform.python_version()}, {platform.processor() or platform.machine()}\n")
    print(f"{'':<48}{'F1':>7}{'precision':>11}{'recall':>8}{'empty':>7}{'ms/page':>9}")

    def line(name: str, extract: Extract) -> None:
        result = score(pages, extract)
        print(
            f"{name:<48}{result.f1:>7.3f}{result.precision:>11.3f}{result.recall:>8.3f}"
            f"{result.empty:>7}{result.ms:>9.1f}",
            flush=True,
        )

    for name, extract in peers():  # before ours: making trafilatura lean changes it for the whole process
        line(name, extract)
    use_lean_trafilatura()
    for name, extract in ours():
        line(name, extract)


if __name__ == "__main__":
    main()
