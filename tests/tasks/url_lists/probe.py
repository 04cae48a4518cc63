"""Opens compiled lists in a process of its own and asks them: what it costs, and whether every answer is right.

    python -m tests.tasks.url_lists.probe FOLDER N COUNT    N generated domains in FOLDER, COUNT probes

Prints one line of JSON. `rss_mb` is what the process grew by from before the lists were opened to after the last
question, mapped pages that were touched included.
"""

import json
import sys
import time
from pathlib import Path

import psutil

from tasks.url_lists.lists import UrlLists
from tests.tasks.url_lists.generated import domain, probes


def main() -> None:
    folder, n, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asked = [(f"https://www.{domain(k)}/page/{k}?id={k}", k, listed) for k, listed in probes(n, count // 2)]
    process = psutil.Process()
    UrlLists.of_lines({"a": ["example.com"]}).find("http://example.com/")  # what is imported on first use is imported
    before = process.memory_info().rss
    start = time.perf_counter()
    lists = UrlLists.open_folder(folder)
    opened = time.perf_counter()
    cpu = time.process_time()
    found = [lists.find(url) for url, _, _ in asked]
    cpu = time.process_time() - cpu
    after = process.memory_info().rss
    names = lists.names
    wrong = sum(
        name != (names[k % len(names)] if listed else None) for name, (_, k, listed) in zip(found, asked, strict=True)
    )
    print(
        json.dumps(
            {
                "entries": len(lists),
                "open_ms": 1e3 * (opened - start),
                "rss_mb": (after - before) / 1e6,
                "process_mb": after / 1e6,
                "lookup_us": 1e6 * cpu / len(asked),
                "asked": len(asked),
                "wrong": wrong,
            }
        )
    )


if __name__ == "__main__":
    main()
