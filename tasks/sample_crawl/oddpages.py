"""x"""
from collections.abc import Iterator
from tasks.sample_crawl.warc import Capture
def captures() -> Iterator[Capture]:
    yield from ()
