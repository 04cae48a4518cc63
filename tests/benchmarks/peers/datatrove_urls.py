"""The peer of bench_url_lists: datatrove's URL filter over the same addresses, in datatrove's own interpreter.

    PYTHON datatrove_urls.py ADDRESSES [DOMAINS]    one a line; without domains its own lists and words

Prints one line of JSON: `load_s` CPU seconds until the first answer, `rss_mb` grown by then, `lookup_us`, and
`blocked`, the numbers of the addresses that it blocks.
"""

import json
import os
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters.url_filter import URLFilter


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


addresses = Path(sys.argv[1]).read_text().split("\n")
documents = [Document(text="", id="", metadata={"url": address}) for address in addresses]
before, start = resident(), time.process_time()
if len(sys.argv) > 2:
    with Path(sys.argv[2]).open() as domains:
        url_filter = URLFilter(use_integrated_lists=False, extra_domains=domains)
else:
    url_filter = URLFilter()
url_filter.filter(Document(text="", id="", metadata={"url": "http://example.com/"}))  # loads lists and suffixes
loaded, after = time.process_time(), resident()
answers = [url_filter.filter(document) for document in documents]
asked = time.process_time() - loaded
print(
    json.dumps(
        {
            "load_s": loaded - start,
            "rss_mb": (after - before) / 1e6,
            "lookup_us": 1e6 * asked / len(documents),
            "blocked": [k for k, answer in enumerate(answers) if answer is not True],
        }
    )
)
