"""Small files that mean to be large: what they cost is bounded, and the pages beside them are read."""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.miniature import ENGLISH, Page, english_pages, gzip_member, html_page, response_record

GIB = 1 << 30
MAX_WORKER_BYTES = GIB
MIB = bytes(1 << 20)
MEASURED = """
import json, re, resource, sys
from pathlib import Path
from tasks.extract.params import ExtractParams
from tasks.extract.stage import extract_part_records

path = Path(sys.argv[1])
result = extract_part_records(path, 0, path.stat().st_size, ExtractParams(), path.name)
# VmHWM and not ru_maxrss: a new process inherits the latter from the one that started it, here all of pytest's.
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
peak = [own * 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]
print(json.dumps({
    "documents": result.documents["url"].to_pylist(),
    "skipped": [[row["url"], row["reason"], row["detail"]] for row in result.skipped.to_pylist()],
    "peak": peak,
}))
"""


def gzip_of_zeros(n_mib: int, head: bytes = b"", tail: bytes = b"") -> bytes:
    """A gzip member of `head`, so many MiB of zeros and `tail`, made without compressing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(head + MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    again = packer.compress(MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    last = packer.compress(tail) + packer.flush()
    crc = zlib.crc32(head + MIB)
    for _ in range(n_mib - 1):
        crc = zlib.crc32(MIB, crc)
    size = len(head) + n_mib * len(MIB) + len(tail)
    trailer = zlib.crc32(tail, crc).to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + again * (n_mib - 1) + last + trailer


def run(path: Path) -> dict[str, list]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True, timeout=280
    )
    found = json.loads(done.stdout)
    worker, child = found["peak"]
    assert worker + child <= MAX_WORKER_BYTES, f"worker {worker >> 20} MiB, child {child >> 20} MiB"
    return found


def write(path: Path, *records: bytes) -> Path:
    first, last = (gzip_member(response_record(page)) for page in english_pages()[:2])
    path.write_bytes(first + b"".join(records) + last)
    return path


NEIGHBOURS = [page.url for page in english_pages()[:2]]


@pytest.mark.parametrize("n_mib", [128, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_gigabyte_in_a_megabyte(tmp_path: Path, n_mib: int) -> None:
    """As an HTTP body, as a record whose header says so, as one whose header does not, and cut off."""
    body = gzip_of_zeros(n_mib)
    assert len(body) < 1_100 * n_mib
    page = Page("http://bomb.example/body", body, http_headers=(("Content-Encoding", "gzip"),))
    head, _, _ = response_record(Page("http://bomb.example/record", b"")).partition(b"Content-Length:")
    true_head = head + b"Content-Length: %d\r\n\r\n" % (n_mib << 20)
    false_head = head.replace(b"/record", b"/false") + b"Content-Length: 1000\r\n\r\n"
    path = write(
        tmp_path / "a.warc.gz",
        gzip_member(response_record(page)),
        gzip_of_zeros(n_mib, true_head, b"\r\n\r\n"),
        gzip_of_zeros(n_mib, false_head, b"\r\n\r\n"),
        gzip_of_zeros(n_mib, true_head.replace(b"/record", b"/cut"))[:-100],
    )
    found = run(path)
    assert found["documents"] == NEIGHBOURS
    assert [row[:2] for row in found["skipped"]] == [
        ["http://bomb.example/body", "too_large"],
        ["http://bomb.example/record", "too_large"],
        ["http://bomb.example/false", "too_large"],
        ["http://bomb.example/cut", "corrupt_record"],  # to the end of the next record; where it ends, none can say
    ]


def test_markup_without_end(tmp_path: Path) -> None:
    """100,000 nested tags, a table of a million rows, one cell that says it spans 9e15 columns."""
    article = html_page(ENGLISH["bread"])
    half = article.index("</article>")
    wide = f'<table><tr><td colspan="{9 * 10**15}">wide</td><td rowspan="65534" colspan="1000">x</td></tr></table>'
    bodies = {
        "nested": "<!DOCTYPE html><html><body>" + "<div>" * 100_000 + article,
        "nested-bare": "<div>" * 100_000 + article,
        "nested-inside": article[:half] + "<b><i>" * 50_000 + "deep" + article[half:],
        "rows": article[:half] + "<table>" + "<tr><td>1" * 1_000_000 + "</table>" + article[half:],
        "rows-unclosed": article[:half] + "<table>" + "<tr>" * 1_000_000 + article[half:],
        "wide": article[:half] + wide + article[half:],
    }
    pages = [Page(f"http://bomb.example/{name}", body.encode()) for name, body in bodies.items()]
    found = run(write(tmp_path / "a.warc.gz", *(gzip_member(response_record(page)) for page in pages)))
    reasons = {url: reason for url, reason, _ in found["skipped"]}
    assert set(reasons) | set(found["documents"]) == {*NEIGHBOURS, *(page.url for page in pages)}
    assert set(NEIGHBOURS) <= set(found["documents"])
    assert reasons["http://bomb.example/nested"] == "too_deep"
    # One block and no `html` in its first 50 characters: trafilatura takes this for no page at all, however deep it is.
    assert reasons["http://bomb.example/nested-bare"] == "empty_text"
    assert reasons["http://bomb.example/rows"] in ("too_large", "too_many_tags")
    assert reasons["http://bomb.example/rows-unclosed"] == "too_many_tags"


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate"])
def test_other_codings_of_64_megabytes(tmp_path: Path, coding: str) -> None:
    import brotli
    import zstandard

    pack = {"br": lambda data: brotli.compress(data, quality=1), "zstd": zstandard.compress, "deflate": zlib.compress}
    body = pack[coding](bytes(GIB // 16))
    page = Page("http://bomb.example/", body, http_headers=(("Content-Encoding", coding),))
    found = run(write(tmp_path / "a.warc.gz", gzip_member(response_record(page))))
    assert found["documents"] == NEIGHBOURS
    assert found["skipped"] == [["http://bomb.example/", "too_large", "decodes to more than 8388608 bytes"]]
