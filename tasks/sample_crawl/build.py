"""The whole sample crawl, as one pure function of the installed distributions and the parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import Field

from infra.params import Params
from tasks.sample_crawl import oddpages, site
from tasks.sample_crawl.sources import README_ONLY, SELECTIONS, find
from tasks.sample_crawl.warc import Capture, records, warcinfo_id, write_file

# The crawl's calendar: each file covers some days, pages are spread over them, none is later than today's data.
CRAWL_STARTED = datetime(2026, 9, 7, tzinfo=UTC)
FILE_SPAN = timedelta(days=6)
CRAWL = "SLUICE-SAMPLE-2026-37"

# Under `max_pages`, each distribution gets an equal share of what is left, but enough to look like a manual.
_MIN_SHARE = 20

DISTRIBUTIONS: tuple[str, ...] = (*(each.distribution for each in SELECTIONS), *README_ONLY)


class SampleCrawlParams(Params):
    """What shapes the sample crawl, besides the installed distributions themselves."""

    distributions: tuple[str, ...] = Field(
        DISTRIBUTIONS,
        description="Distributions to document, in order; `stdlib` is Python's own. Absent ones are skipped.",
    )
    files: int = Field(7, ge=1, le=64, description="WARC files to spread the captures over.")
    min_words: int = Field(
        200, ge=0, description="Words of prose below which a module shares a page with its neighbours."
    )
    max_pages: int | None = Field(
        None, ge=1, description="Documentation pages at most, for small crawls; empty means all. Odd pages come on top."
    )
    odd_pages: bool = Field(True, description="Add the hand-written pages: other languages, spam, broken markup ...")


@dataclass
class SampleCrawlSummary:
    """What was built. Modules are what was read, captures what was written; kinds are listed in sorted order."""

    distributions: dict[str, str] = field(default_factory=dict)  # name -> version, in the order of the parameters
    modules: int = 0
    modules_too_short: int = 0
    captures: dict[str, int] = field(default_factory=dict)  # kind -> n
    statuses: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # name -> captures
    body_bytes: int = 0
    warc_bytes: int = 0


def build(out_dir: Path, params: SampleCrawlParams) -> SampleCrawlSummary:
    """Write the crawl's `*.warc.gz` files into `out_dir` and return what they hold.

    The same installed distributions and parameters give the same bytes, wherever and whenever it runs.
    """
    summary = SampleCrawlSummary()
    names = [_file_name(number) for number in range(params.files)]
    info_ids = [warcinfo_id(name) for name in names]
    # Records are packed at once, so that the uncompressed web (some 100 MB) is never held as a whole.
    packed: list[list[tuple[datetime, str, bytes]]] = [[] for _ in names]
    kinds: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for capture in _captures(params, summary):
        number = capture.key[0] % params.files
        fetched = _fetched_at(capture, number)
        packed[number].append((fetched, capture.url, records(capture, fetched, info_ids[number])))
        kinds[capture.kind] += 1
        statuses[str(capture.status)] += 1
        summary.body_bytes += len(capture.body)
    for number, name in enumerate(names):
        held = sorted(packed[number], key=lambda item: item[:2])
        path = out_dir / name
        write_file(path, CRAWL_STARTED + number * FILE_SPAN, CRAWL, (member for _, _, member in held))
        summary.files[name] = len(held)
        summary.warc_bytes += path.stat().st_size
    summary.captures = dict(sorted(kinds.items()))
    summary.statuses = dict(sorted(statuses.items()))
    return summary


def _captures(params: SampleCrawlParams, summary: SampleCrawlSummary) -> Iterator[Capture]:
    left = params.max_pages
    trees = [tree for name in params.distributions if (tree := find(name))]
    for number, tree in enumerate(trees):
        if left is not None and left <= 0:
            break
        share = None if left is None else min(left, max(left // (len(trees) - number), _MIN_SHARE))
        book = site.make_book(tree, params.min_words, share)
        summary.distributions[book.name] = book.version
        summary.modules += book.modules
        summary.modules_too_short += book.too_short
        left = None if left is None else left - len(book.pages)
        yield from site.captures(book)
    if params.odd_pages:
        yield from oddpages.captures()


def _file_name(number: int) -> str:
    """As Common Crawl names its files: crawl, start and end of the segment, number."""
    start = CRAWL_STARTED + number * FILE_SPAN
    return f"{CRAWL}-{start:%Y%m%d%H%M%S}-{start + FILE_SPAN:%Y%m%d%H%M%S}-{number:05d}.warc.gz"


def _fetched_at(capture: Capture, number: int) -> datetime:
    seconds = int.from_bytes(capture.key[1:5], "big") % int(FILE_SPAN.total_seconds())
    return CRAWL_STARTED + number * FILE_SPAN + timedelta(seconds=seconds)
