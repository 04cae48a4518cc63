"""From what a user names to single files: paths on this machine, and addresses of remote ones."""

import glob
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

from infra.errors import BadInput
from infra.remote import file_name, is_remote, list_s3, read_whole, shown
from tasks.crawl.heads import head_of, looks_right
from tasks.crawl.params import CrawlParams

CRAWL_SUFFIXES = (".warc.gz", ".warc", ".warc.wet.gz", ".warc.wet", ".arc.gz", ".arc")
LIST_SUFFIXES = (".paths", ".paths.gz", ".txt", ".txt.gz", ".list", ".list.gz")
COLLECTIONS = "https://index.commoncrawl.org/collinfo.json"
_GLOB_CHARACTERS = frozenset("*?[")

Location = Path | str  # a file on this machine, or the address of a remote one


def locations(place: str, params: CrawlParams, *, ask_servers: bool = True) -> list[Location]:
    """The files that a place names.

    Args:
        place: a folder (searched with its subfolders), a glob, a file, a list of files, or an address.
        ask_servers: False: lists that lie on a server are not fetched and give nothing.

    Raises:
        BadInput: nothing is there, or nothing of it can be a file of a crawl.
        Unreachable: a server does not answer.
    """
    if not place.strip():
        raise BadInput("crawl.paths: an empty path; give a folder, a glob, a file or an address")
    if is_remote(place):
        return _behind(place, params) if ask_servers else []
    if "://" in place:
        raise BadInput(f"{place}: addresses begin with https://, http:// or s3://; files here are named by their path")
    path = Path(place).expanduser()
    if path.is_file():
        if path.name.endswith(LIST_SUFFIXES) and not looks_right(head_of(path)):
            return list(_listed(_lines(path.name, _read(path)), place, params))
        return [path]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(CRAWL_SUFFIXES))
        if not found:
            raise BadInput(f"{place}: no WARC file in this folder; it needs files ending in {_named(CRAWL_SUFFIXES)}")
        return list(found)
    if _GLOB_CHARACTERS & set(place):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute patterns
        found = [file for file in matches if file.is_file() and file.name.endswith(CRAWL_SUFFIXES)]
        if not found:
            raise BadInput(f"{place}: no WARC file matches; it needs files ending in {_named(CRAWL_SUFFIXES)}")
        return list(found)
    raise BadInput(f"{place}: no such file or folder; check crawl.paths")


def crawl_locations(params: CrawlParams) -> list[Location]:
    """The files of the crawl `params.id`, from its published list.

    Raises:
        BadInput: there is no such crawl, or it has no such files.
        Unreachable: the server does not answer.
    """
    try:
        data = read_whole(params.listing, params.access) if params.base_is_remote else _read(Path(params.listing))
        return list(_listed(_lines(params.listing, data), params.listing, params))
    except BadInput as error:
        raise BadInput(f"crawl.id={params.id} ({params.kind} files): {error}; crawls: {COLLECTIONS}") from error


def name_of(location: Location) -> str:
    """A file's name, without folder or server."""
    return location.name if isinstance(location, Path) else file_name(location)


def _behind(url: str, params: CrawlParams) -> list[Location]:
    if url.startswith("s3://") and url.endswith("/"):
        found = [one for one in list_s3(url, params.access) if one.endswith(CRAWL_SUFFIXES)]
        if not found:
            raise BadInput(f"{url}: no WARC file below it; it needs objects ending in {_named(CRAWL_SUFFIXES)}")
        return list(found)
    name = file_name(url)
    if not name:
        raise BadInput(f"{shown(url)}: it names no file; give a file's address, or a list of them (.txt, .paths.gz)")
    if name.endswith(LIST_SUFFIXES):
        return list(_listed(_lines(name, read_whole(url, params.access)), url, params))
    return [url]


def _listed(lines: Sequence[tuple[int, str]], where: str, params: CrawlParams) -> Iterator[Location]:
    """The file of each line of a list that lies at `where`."""
    if not lines:
        raise BadInput(f"{shown(where)}: the list names no files")
    for number, line in lines:
        if line.startswith("crawl-data/"):
            place = params.below_base(line)
        elif is_remote(line):
            place = line
        elif is_remote(where):
            place = urljoin(where, line) if not where.startswith("s3://") else f"{where.rpartition('/')[0]}/{line}"
        else:
            place = str(Path(where).expanduser().parent / Path(line).expanduser())
        if is_remote(place):
            yield place
        elif Path(place).is_file():
            yield Path(place)
        else:
            raise BadInput(f"{shown(where)}, line {number}: {place}: no such file")


def _lines(name: str, data: bytes) -> list[tuple[int, str]]:
    """Numbered lines of a list without comments and empty ones."""
    try:
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{shown(name)}: the list is not sound gzip ({error})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{shown(name)}: the list is not text in UTF-8") from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def _named(suffixes: Sequence[str]) -> str:
    return " or ".join(suffixes)
