"""URL lists at full size: what 4.5 million domains cost a process, and whether every answer is right.

    make bench-url-lists
    python -m tests.benchmarks.bench_url_lists --datatrove PYTHON      beside datatrove, in its own environment

The domains are generated (tests/tasks/url_lists/generated.py), so that nothing need be fetched; the addresses asked are
half listed and half not, all with `www.`, a path and a query. Compiling happens once an artifact; opening once a
process. Lists and lookups are measured in a fresh process each: memory is what the process grew by, mapped pages that
were touched included. datatrove (environment: tests/benchmarks/peers/datatrove.txt) gets the same domains and
addresses, and once more its own lists and words, as it comes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import xxhash

from infra.store import Store
from tasks.filters.url import builtin_words, url_signals, url_verdict
from tasks.url_lists.lists import META, UrlLists
from tasks.url_lists.stage import url_lists
from tests.tasks.url_lists.generated import domain, probes, source, write_lists

PEER = Path(__file__).with_name("peers") / "datatrove_urls.py"


def ours(folder: Path, n: int, count: int) -> dict[str, Any]:
    """Open and ask in a process of its own."""
    command = [sys.executable, "-m", "tests.tasks.url_lists.probe", str(folder), str(n), str(count)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return dict(json.loads(answer.stdout))


def peer(python: str, scratch: Path, *files: Path) -> dict[str, Any]:
    """The same of datatrove. Its first lookup tries the network for the public suffix list and logs a traceback."""
    environment = {**os.environ, "HF_HOME": str(scratch / "hf"), "PYTHONWARNINGS": "ignore"}
    with (scratch / "peer.log").open("w") as log:
        answer = subprocess.run(
            [python, str(PEER), *map(str, files)], check=True, stdout=subprocess.PIPE, stderr=log, env=environment
        )
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def microseconds(work: Any, addresses: list[str]) -> float:
    """CPU time of one call, mean over the addresses."""
    work(addresses[0])
    start = time.process_time()
    for address in addresses:
        work(address)
    return 1e6 * (time.process_time() - start) / len(addresses)


def main() -> None:
    """Compile, open, ask; print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--domains", type=int, default=4_500_000)
    parser.add_argument("--probes", type=int, default=100_000)
    parser.add_argument("--datatrove", metavar="PYTHON", help="an interpreter with datatrove installed")
    arguments = parser.parse_args()
    n, count = arguments.domains, arguments.probes

    def line(name: str, value: float, unit: str) -> None:
        print(f"{name:<52}{value:>12,.2f} {unit}")

    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        artifact = url_lists.run(
            Store(scratch / "store"), lists=source(write_lists(scratch / "lists", n, ("a", "b", "c")))
        )
        folder = artifact.file(META).parent
        answer = ours(folder, n, count)
        print(f"{answer['entries']:,} domains in {len(UrlLists.open_folder(folder).names)} lists, {answer['asked']:,}")
        print(f"addresses asked; Python {platform.python_version()}, xxhash {xxhash.VERSION}, {platform.machine()}\n")
        line("compile, once", artifact.manifest.timing.cpu_seconds, "CPU s")
        line("  peak memory of the process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB")
        line("  files", sum(entry.bytes for entry in artifact.manifest.files) / 1e6, "MB")
        line("open, once a process", answer["open_ms"], "ms")
        line("memory that opening and asking adds", answer["rss_mb"], "MB")
        line("lookup", answer["lookup_us"], "µs an address")
        line("  wrong answers", answer["wrong"], f"of {answer['asked']:,}")
        asked = [(f"https://www.{domain(k)}/page/{k}?id={k}", listed) for k, listed in probes(n, count // 2)]
        addresses = [address for address, _ in asked]
        lists, words = UrlLists.open_folder(folder), builtin_words()
        size = len(words.hard | words.soft) + len(words.subwords)
        line(f"{size} words", microseconds(lambda address: url_verdict(address), addresses), "µs an address")
        line("lists and words", microseconds(lambda address: url_verdict(address, lists), addresses), "µs an address")
        line("all signals", microseconds(lambda address: url_signals(address, lists), addresses), "µs an address")
        if arguments.datatrove:
            (scratch / "addresses.txt").write_text("\n".join(addresses))
            (scratch / "domains.txt").write_text("".join(f"{domain(k)}\n" for k in range(n)))
            for name, files in (
                ("the same domains", (scratch / "domains.txt",)),
                ("its own lists and words", ()),
            ):
                theirs = peer(arguments.datatrove, scratch, scratch / "addresses.txt", *files)
                print(f"\ndatatrove, {name}")
                line("load, every process", theirs["load_s"], "CPU s")
                line("memory", theirs["rss_mb"], "MB")
                line("lookup", theirs["lookup_us"], "µs an address")
                if files:
                    blocked = set(theirs["blocked"])
                    missed = sum(listed and k not in blocked for k, (_, listed) in enumerate(asked))
                    line("listed addresses that pass", missed, f"of {len(asked) // 2:,}: below a listed sub-domain")


if __name__ == "__main__":
    main()
