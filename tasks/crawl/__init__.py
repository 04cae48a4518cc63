"""A crawl: WARC, WET or ARC files in a folder, behind a glob, in a list, on a server, or of a crawl by its id.

A crawl is a set of files: neither their order nor the folder or server they lie in matters, and a file that is there
twice (equal name and identity) is one. `params.py` says how one is named, `places.py` finds its files, `draw.py` takes
some of them, and `source.py` looks at each and makes the `Source` that `extract` takes. What is wrong is said before
any work begins, in one line.
"""

from tasks.crawl.params import COMMON_CRAWL, CrawlParams
from tasks.crawl.source import check_places, crawl_source, open_crawl

__all__ = ["COMMON_CRAWL", "CrawlParams", "check_places", "crawl_source", "open_crawl"]
