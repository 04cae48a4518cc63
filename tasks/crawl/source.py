"""From the files of a crawl to a `Source`: each one looked at, and identified.

A local file is identified by the sha256 of its bytes. A remote one is not fetched for that: its size and ETag stand for
them, from one request that also brings the first bytes, so that a page of HTML in the place of a WARC is found here.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from infra.errors import BadInput
from infra.remote import Access, file_name, probe, shown
from infra.stage import Source
from infra.stage.source import local_file
from infra.store.digests import DigestCache
from infra.store.manifest import InputFile
from tasks.crawl.draw import draw
from tasks.crawl.heads import HEAD_BYTES, check_head, head_of
from tasks.crawl.params import CrawlParams
from tasks.crawl.places import Location, crawl_locations, locations, name_of

PROBES_AT_ONCE = 8  # small requests; the bulk is fetched by the parts, one connection a core
MANY = 200  # files that take a while to ask for

log = logging.getLogger("sluice.crawl")


def open_crawl(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    digests: DigestCache,
    params: CrawlParams | None = None,
) -> Source:
    """The files of a crawl, identified.

    Args:
        where: a folder (searched with its subfolders), a glob, a file, a list of files, an address, or several of
            these. A folder or glob takes what ends as files of a crawl do; a file that is named is taken whatever its
            name.
        digests: remembers what was learned of each file.
        params: how lists are resolved, which files are drawn, how servers are asked; its `paths` and `id` are not used.

    Raises:
        BadInput: nothing is there, nothing of it is a file of a crawl, or a file cannot be read.
        Unreachable: a server does not answer.
    """
    params = params or CrawlParams()
    places = [where] if isinstance(where, str | os.PathLike) else list(where)
    if not places:
        raise BadInput("the crawl names no files; give a folder, a glob or WARC files (crawl.paths)")
    return _source([file for place in places for file in locations(os.fspath(place), params)], digests, params)


def crawl_source(params: CrawlParams, digests: DigestCache) -> Source | None:
    """The crawl that the parameters name; None when they name none.

    Raises:
        BadInput, Unreachable: as `open_crawl`; there is no crawl of this id.
    """
    if params.id is not None:
        return _source(crawl_locations(params), digests, params)
    return None if params.paths is None else open_crawl(params.places, digests, params)


def check_places(params: CrawlParams) -> None:
    """Find what is wrong with files on this machine without reading them whole or asking a server.

    Raises:
        BadInput: nothing is there, or nothing of it is a file of a crawl.
    """
    found = [file for place in params.places for file in locations(place, params, ask_servers=False)]
    if params.id is not None and not params.base_is_remote:
        found += crawl_locations(params)
    for file in found:
        if isinstance(file, Path):
            check_head(str(file), head_of(file))


def _source(files: Sequence[Location], digests: DigestCache, params: CrawlParams) -> Source:
    distinct = list(dict.fromkeys(files))
    taken = draw(distinct, name_of, sample=params.sample_files, most=params.max_files, seed=params.seed)
    if not taken:
        raise BadInput(
            f"crawl.sample_files={params.sample_files}: none of {len(distinct)} files is drawn; raise it or change"
            " crawl.seed"
        )
    here = [file for file in taken if isinstance(file, Path)]
    remote = [file for file in taken if isinstance(file, str)]
    for file in here:
        check_head(str(file), head_of(file))
    entries = _probed(remote, digests, params.access)
    entries += [local_file(file, digests) for file in here]
    digests.save()
    return Source.of_inputs(entries, access=params.access if remote else None)


def _probed(urls: Sequence[str], digests: DigestCache, access: Access) -> list[InputFile]:
    """Remote files by size and validator: remembered, or asked for now."""
    known = {url: digests.remote(url) for url in urls}
    unknown = [url for url, found in known.items() if found is None]
    if len(unknown) > MANY:
        log.info("asking for size and ETag of %d remote files", len(unknown))
    pool = ThreadPoolExecutor(PROBES_AT_ONCE)
    try:
        for url, found in zip(unknown, pool.map(partial(_probe, access=access), unknown), strict=True):
            known[url] = found
            digests.remember(url, *found)
    finally:
        digests.save()
        pool.shutdown(cancel_futures=True)
    return [
        InputFile(
            name=file_name(url),
            etag=found[1],
            bytes=found[0],
            path=shown(url),
            location=url if url != shown(url) else None,
        )
        for url, found in known.items()
        if found is not None
    ]


def _probe(url: str, access: Access) -> tuple[int, str]:
    file, head = probe(url, HEAD_BYTES, access)
    check_head(shown(url), head)
    return file.size, file.validator
