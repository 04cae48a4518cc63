"""What a page costs from WARC to filtered text, beside datatrove doing FineWeb's recipe on the same files.

    make bench-curation ARGS="--crawl FOLDER --peer-python .peers/datatrove/bin/python"

Both sides extract with trafilatura (precision), keep English by the same language model, and apply Gopher repetition,
Gopher quality, C4 without terminal punctuation and FineWeb's rules, with two workers. Ours is the command that a user
gives (`sluice run curate --until filter`), Prefect's server, the JVM and all manifests included.

Two figures a side. *Start*: CPU seconds of the smaller run that the larger one does not repeat. *Marginal*: what
`--copies` copies of the crawl cost beyond one, divided by their pages; a page of the second terabyte costs this much.
CPU is summed over the whole process tree. Wall time is printed, and means something on an idle machine only.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.store import Store
from tasks.filters.language import model_path
from tests.benchmarks.tree_cpu import Measured, measured

PEER_SCRIPT = Path(__file__).parent / "peers" / "datatrove_curation.py"
PEER_REQUIREMENTS = PEER_SCRIPT.with_name("datatrove.txt")
NO_PAGE = ("http_status", "mime", "redirect")  # reasons of responses that are no page for either side
# What a user who wants English says, so that other pages are not extracted.
GATES = ("extract.gates.languages=[en]",)


@dataclass(frozen=True)
class Outcome:
    """One run: what it cost and what it left."""

    cost: Measured
    documents: frozenset[str]
    """URLs of the documents that are left."""
    responses: int = 0
    pages: int = 0


def main() -> None:
    """Measure and print; see the module."""
    arguments = _arguments()
    files = sorted(arguments.crawl.glob("*.warc.gz"))
    if not files:
        sys.exit(f"{arguments.crawl}: no .warc.gz file here; give --crawl FOLDER")
    sides: dict[str, Callable[[Path, Path], Outcome]] = {
        "sluice, gates": lambda crawl, out: run_ours(crawl, out, arguments.workers, GATES),
        "sluice, no gates": lambda crawl, out: run_ours(crawl, out, arguments.workers, ()),
    }
    if arguments.peer_python is None:
        print(f"No --peer-python: make a venv and install {PEER_REQUIREMENTS} in it to see datatrove beside this.")
    else:
        sides["datatrove"] = lambda crawl, out: run_peer(crawl, out, arguments.workers, arguments.peer_python)
    sides = {name: run for name, run in sides.items() if not arguments.only or name in arguments.only}
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-curation-", dir=arguments.scratch) as scratch:
        for name, run in sides.items():
            folder = Path(scratch) / name.replace(" ", "").replace(",", "-")
            one, many = (
                run(copies_of(files, copies, folder / f"crawl{copies}"), folder / f"out{copies}")
                for copies in (1, arguments.copies)
            )
            shutil.rmtree(folder)
            results[name] = (one, many)
            print(f"{name}: {one.cost} | {many.cost}", flush=True)
    _print(results, arguments.copies)


def copies_of(files: Sequence[Path], copies: int, folder: Path) -> Path:
    """A folder with `copies` links to each file, under names of their own."""
    folder.mkdir(parents=True)
    for copy in range(copies):
        for file in files:
            (folder / f"copy{copy}-{file.name}").symlink_to(file.resolve())
    return folder


def run_ours(crawl: Path, out: Path, workers: int, sets: Sequence[str]) -> Outcome:
    """`sluice run curate` into a store of its own."""
    # datatrove's C4 filter rewrites the text, and FineWeb's own rules look at what it leaves: measure.clean does that
    settings = [f"crawl.paths={crawl}", f"runtime.cores={workers}", "measure.clean=c4", *sets]
    command = [sys.executable, "-m", "flows.cli", "run", "curate", "--profile", "laptop", "--store", str(out)]
    command += ["--until", "filter", *(word for setting in settings for word in ("--set", setting))]
    cost = _checked(command, out.with_suffix(".log"))
    store = Store(out)
    (filtered,) = [store.open(f"filter/{version}") for version in store.versions("filter")]
    from tasks.documents import iter_documents

    urls = [url for table in iter_documents(filtered, ["url"]) for url in table.column("url").to_pylist()]
    (extracted,) = [store.open(f"extract/{version}") for version in store.versions("extract")]
    counts = extracted.manifest.counts
    pages = counts.in_.n - sum(counts.dropped.get(reason, 0) for reason in NO_PAGE)
    return Outcome(cost, frozenset(urls), counts.in_.n, pages)


def run_peer(crawl: Path, out: Path, workers: int, python: Path) -> Outcome:
    """datatrove's executor, one task a file."""
    tasks = len(list(crawl.iterdir()))
    command = [str(python), str(PEER_SCRIPT), str(crawl), str(out), str(tasks), str(workers)]
    out.mkdir(parents=True)
    cost = _checked(command, out.with_suffix(".log"), {"LANGUAGE_MODEL": str(model_path())})
    import gzip

    urls = set()
    for file in sorted((out / "documents").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            urls |= {json.loads(line)["metadata"]["url"] for line in lines}
    return Outcome(cost, frozenset(urls))


def _checked(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    log.parent.mkdir(parents=True, exist_ok=True)
    result = measured(command, log, environment)
    if result.status != 0:
        sys.exit(f"{' '.join(command)}: exit status {result.status}; its last words:\n{log.read_text()[-2000:]}")
    return result


def _print(results: dict[str, tuple[Outcome, Outcome]], copies: int) -> None:
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    ours = next(one for one, _ in results.values() if one.pages)
    responses, pages = ours.responses, ours.pages
    print(f"{responses} responses, {pages} pages a copy; marginal cost of {copies - 1} further copies\n")
    many = f"{copies} copies"
    print(f"{'':<18}{'1 copy':>10}{many:>11}{'start':>9}{'marginal':>11}{'a core':>11}{'wall':>9}{'left':>7}")
    print(f"{'':<18}{'CPU s':>10}{'CPU s':>11}{'CPU s':>9}{'ms/page':>11}{'pages/s':>11}{'s':>9}{'docs':>7}")
    marginal = {}
    for name, (one, several) in results.items():
        each = (several.cost.cpu_seconds - one.cost.cpu_seconds) / (copies - 1)
        marginal[name] = each / pages
        print(
            f"{name:<18}{one.cost.cpu_seconds:>10.1f}{several.cost.cpu_seconds:>11.1f}"
            f"{one.cost.cpu_seconds - each:>9.1f}{1000 * each / pages:>11.2f}{pages / each:>11.1f}"
            f"{several.cost.wall_seconds:>9.1f}{len(one.documents):>7}"
        )
    peer = marginal.get("datatrove")
    for name in marginal:
        if peer and name != "datatrove":
            print(f"{name}: {peer / marginal[name]:.2f} times fewer core-seconds a page than datatrove")
    gates, without = results.get("sluice, gates"), results.get("sluice, no gates")
    if gates and without:
        survivors = without[0].documents
        lost, gained = survivors - gates[0].documents, gates[0].documents - survivors
        share = len(lost) / max(len(survivors), 1)
        print(f"gates: {len(lost)} of {len(survivors)} survivors lost ({share:.2%}), {len(gained)} gained")
        for url in sorted(lost | gained)[:20]:
            print(f"  {'-' if url in lost else '+'} {url}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crawl", type=Path, required=True, help="folder of .warc.gz files")
    parser.add_argument(
        "--peer-python", type=Path, help=f"interpreter of a venv with {PEER_REQUIREMENTS.name} installed"
    )
    parser.add_argument("--copies", type=int, default=4, help="copies of the crawl in the larger run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="folder for stores and outputs (some times the crawl's size)")
    parser.add_argument("--only", nargs="*", help="sides to run, as the table names them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
