"""Damage done to a crawl's files on purpose, the same for the same seed.

`damaged_file` takes pages, spoils some of their records in one of many ways each, and says which ones it left alone.
The ways are those in which real files are broken: bits, bytes and blocks of a disk or a transfer, crawlers that crash
and go on, writers that count wrongly, servers that lie.
"""

import gzip
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import brotli

from tests.miniature import ENGLISH, Page, gzip_member, html_page, record_id, response_record, warc_record

FORMATS = ("warc.gz", "warc", "arc.gz", "arc", "wet.gz")
Bytes = Callable[[bytes, random.Random], bytes]


def small_pages(n: int) -> list[Page]:
    """Pages of about 700 bytes with distinct texts."""
    paragraphs = [text for _, _, sections in ENGLISH.values() for _, text in sections]
    pages = []
    for k in range(n):
        first, second = paragraphs[k % len(paragraphs)], paragraphs[(7 * k + 3) % len(paragraphs)]
        article = (f"Number {k}", first[:250].rpartition(" ")[0] + ".", (("More", f"Item {k}: {second[:220]}."),))
        pages.append(Page(f"http://site{k % 50}.example/page/{k}", html_page(article).encode()))
    return pages


# --- Records ---------------------------------------------------------------------------------------------------------


def record_of(page: Page, kind: str) -> bytes:
    """The record of a page, uncompressed, in a format."""
    if kind.startswith("wet"):
        headers = {
            "WARC-Record-ID": record_id("wet", page.url),
            "WARC-Date": page.date,
            "WARC-Target-URI": page.url,
            "Content-Type": "text/plain",
        }
        return warc_record("conversion", headers, page.body.partition(b"<main>")[2])
    record = response_record(page)
    if kind.startswith("arc"):
        block = record.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n\r\n")
        return f"{page.url} 192.0.2.7 20240518090000 text/html {len(block)}\n".encode() + block + b"\n"
    return record


def opening_of(kind: str) -> bytes:
    """The record that opens a file."""
    if kind.startswith("arc"):
        text = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
        return b"filedesc://a.arc 0.0.0.0 20240518090000 text/plain %d\n%s\n" % (len(text), text)
    return warc_record("warcinfo", {"WARC-Record-ID": record_id("info")}, b"software: test\r\n")


# --- Damage to any bytes ---------------------------------------------------------------------------------------------


def flip_bits(data: bytes, dice: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 8, 50))):
        spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
    return bytes(spoilt)


def delete_bytes(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.choice((1, 2, 10, 100, 400)) :]


def insert_bytes(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.randbytes(dice.choice((1, 2, 10, 100, 400))) + data[at:]


def overwrite_block(data: bytes, dice: random.Random) -> bytes:
    at, n = dice.randrange(len(data)), dice.choice((16, 64, 512))
    filling = dice.choice((bytes(n), b"\xff" * n, dice.randbytes(n)))
    return (data[:at] + filling + data[at + n :])[: max(len(data), at + 1)]


def cut_off(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(1, len(data))]


def lead_in_rubbish(data: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice((1, 20, 63, 64, 300, 5000))) + data


def trail_zeros(data: bytes, dice: random.Random) -> bytes:
    return data + bytes(dice.choice((1, 100, 4096)))


ANYWHERE: tuple[Bytes, ...] = (
    flip_bits,
    flip_bits,
    delete_bytes,
    insert_bytes,
    overwrite_block,
    cut_off,
    lead_in_rubbish,
    trail_zeros,
)


# --- Damage to a record before it is packed --------------------------------------------------------------------------


def false_length(record: bytes, dice: random.Random) -> bytes:
    """Another number, or none, where the archive's header says how long the block is."""
    true = len(record)
    numbers = (0, 1, true // 2, true - 1, true + 1, true + 400, 10**6, 2**31, 2**63, 2**64 - 1, 10**40, -1, -(10**9))
    value = dice.choice((*(str(number) for number in numbers), "", "many", "0x10", "1e3", "12 34", "\u0661"))
    if record.startswith(b"WARC/"):
        head, _, block = record.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        lines[-1] = b"Content-Length: " + value.encode() if dice.random() < 0.9 else b"X-Nothing: 1"
        return b"\r\n".join(lines) + b"\r\n\r\n" + block
    line, _, block = record.partition(b"\n")
    return line.rpartition(b" ")[0] + b" " + value.encode() + b"\n" + block


def header_rubbish(record: bytes, dice: random.Random) -> bytes:
    """Something in the archive's header that does not belong there."""
    end = record.find(b"\r\n\r\n") if record.startswith(b"WARC/") else record.find(b"\n")
    at = dice.randrange(end)
    long, latin = b"x" * 70_000, "é".encode("latin-1")
    rubbish = dice.choice((dice.randbytes(20), b"\r\n", b"\n\n", b"\0" * 9, b": : :\r\n", long, b"\r\n\tfolded", latin))
    return record[:at] + rubbish + record[at + dice.choice((0, 0, 5, 30)) :]


def swap_lines(record: bytes, dice: random.Random) -> bytes:
    """Header lines in another order, one of them twice and one missing."""
    head, separator, block = record.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    dice.shuffle(lines)
    return b"\r\n".join([*lines[1:], lines[-1]]) + separator + block


# --- Damage to a response before it is recorded ----------------------------------------------------------------------


def chunked(body: bytes, dice: random.Random) -> bytes:
    sizes = ["", "zz", "-1", "0", "1", "ffffffff", "f" * 15, "f" * 40, "0x10", " 5 ;a=b"]
    out = []
    for at in range(0, len(body), 150):
        piece = body[at : at + 150]
        size = dice.choice(sizes) if dice.random() < 0.3 else f"{len(piece):x}"
        out.append(size.encode() + dice.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"")) + piece + b"\r\n")
    return b"".join(out) + dice.choice((b"0\r\n\r\n", b"0\r\n", b""))


def odd_response(page: Page, dice: random.Random) -> Page:
    """A page whose HTTP does not fit its body."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip_member,
        "deflate": zlib.compress,
        "br": lambda body: brotli.compress(body, quality=1),
    }
    name = dice.choice(("gzip", "deflate", "br", "zstd", "chunked", "twice", "nonsense", "status"))
    if name == "chunked":
        return replace(page, body=chunked(page.body, dice), http_headers=(("Transfer-Encoding", "chunked"),))
    if name == "status":
        reason = dice.choice(("", "OK\r\nX: \xff", "\r\n\r\n", "Not\0Found", "OK" * 9000))
        return replace(page, status=dice.choice((0, 200, 999)), reason=reason)
    if name == "nonsense":
        kinds = ("compress", "gzip, gzip, gzip", "utf-8", ",,,", "gzip" + ", br" * 30, "\xff")
        return replace(page, http_headers=(("Content-Encoding", dice.choice(kinds)),))
    packer = packers.get(name, gzip.compress)
    body = packer(packer(page.body)) if name == "twice" else packer(page.body)
    if dice.random() < 0.7:
        body = dice.choice(ANYWHERE)(body, dice)
    said = dice.choice((name, name, dice.choice(("gzip", "br", "deflate", "zstd", "identity"))))
    return replace(page, body=body, http_headers=(("Content-Encoding", said),))


# --- Files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DamagedFile:
    """A file, and which of its pages are as they were."""

    data: bytes
    untouched: list[Page]
    spoilt: list[tuple[Page, int, int, str]]
    """(page, first byte, byte after the last, what was done): where the record lies now."""


def spoilt_record(page: Page, kind: str, dice: random.Random) -> tuple[bytes, str]:
    """The bytes of a record in its file, spoilt in one way, and the name of it."""
    packed = kind.endswith(".gz")
    way = dice.choice(("anywhere", "anywhere", "inside", "length", "header", "lines", "response"))
    if way == "response" and not kind.startswith("wet"):
        record = record_of(odd_response(page, dice), kind)
    else:
        record = record_of(page, kind)
    done: Bytes | None = None
    if way == "length":
        done = false_length
    elif way == "header":
        done = header_rubbish
    elif way == "lines":
        done = swap_lines
    elif way == "inside":
        done = dice.choice(ANYWHERE)
    if done:
        record = done(record, dice)
    data = gzip_member(record) if packed else record
    if way == "anywhere":
        done = dice.choice(ANYWHERE)
        data = done(data, dice)
    if kind == "arc" and b" " not in data.rpartition(b"\n")[2] and not data.endswith(b"\n"):
        data += b"\n"  # with the header of the next record it would make one address, as far as anyone can tell
    return data, done.__name__ if done else way


def damaged_file(pages: list[Page], kind: str, seed: int, share: float = 0.6) -> DamagedFile:
    """A file of these pages of which a share is spoilt."""
    dice = random.Random(f"{kind} {seed}")
    pack = gzip_member if kind.endswith(".gz") else bytes
    out = bytearray(pack(opening_of(kind)))
    untouched, spoilt = [], []
    for page in pages:
        if dice.random() < share:
            data, name = spoilt_record(page, kind, dice)
            spoilt.append((page, len(out), len(out) + len(data), name))
        else:
            data = pack(record_of(page, kind))
            untouched.append(page)
        out += data
    return DamagedFile(bytes(out), untouched, spoilt)
