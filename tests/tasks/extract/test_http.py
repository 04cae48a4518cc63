"""HTTP bodies: codings undone, headers not believed against the bytes, broken ones read as far as they go."""

import gzip
import random
import tracemalloc
import zlib
from functools import partial

import brotli
import pytest
import zstandard

from tasks.extract.codings import Decoded
from tasks.extract.http import HttpResponse, charset_of, dechunk, decode_body, media_type, parse_response

TEXT = b"<html><body>" + b"The quick brown fox jumps over the lazy dog. " * 200 + b"</body></html>"
LIMIT = 1 << 20


def decoded(body: bytes, *codings: tuple[str, str], limit: int = LIMIT):
    return decode_body(HttpResponse(200, list(codings), body), limit)


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=4),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
PACKED = [
    ("gzip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw_deflate(TEXT)),
    ("br", brotli.compress(TEXT)),
    ("zstd", zstandard.compress(TEXT)),
    ("zstd", zstandard.compress(TEXT[:500]) + zstandard.compress(TEXT[500:])),
]


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_codings_are_undone(coding: str, body: bytes) -> None:
    result = decoded(body, ("content-encoding", coding))
    assert (result.data, result.cut, result.oversized) == (TEXT, False, False)


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_a_body_that_breaks_off_gives_what_was_there(coding: str, body: bytes) -> None:
    text = bytes(i * 7919 % 251 for i in range(60_000))
    packed = PACK[coding.removeprefix("x-")](text)
    result = decoded(packed[: len(packed) // 2], ("content-encoding", coding))
    assert result.cut
    assert text.startswith(result.data)


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_a_body_over_the_limit_is_oversized_and_never_held(coding: str, body: bytes) -> None:
    result = decoded(body, ("content-encoding", coding), limit=len(TEXT) - 1)
    assert result.oversized
    assert decoded(body, ("content-encoding", coding), limit=len(TEXT)).data == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "chunked", "identity"])
def test_a_coding_that_the_body_does_not_have_is_ignored(coding: str) -> None:
    assert decoded(TEXT, ("content-encoding", coding)).data == TEXT


def test_unknown_codings_are_named_unless_the_body_is_text() -> None:
    assert decoded(b"\x1f\x9d\x90" + bytes(range(90)), ("content-encoding", "compress")).unknown == "compress"
    assert decoded(TEXT, ("content-encoding", "compress")).data == TEXT
    assert decoded(TEXT, ("content-encoding", "UTF-8")).data == TEXT
    utf16 = b"\xff\xfe" + TEXT.decode().encode("utf-16-le")
    assert decoded(utf16, ("content-encoding", "br")).data == utf16


def test_too_many_codings_are_not_undone() -> None:
    assert decoded(TEXT, ("content-encoding", "gzip," * 9)).unknown == "9 codings"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_damaged_body_gives_all_that_comes_before_the_damage(coding: str, damage: str) -> None:
    # Hexadecimal digits of noise: text that compresses by half and no more, so that positions tell how far one came.
    text = random.Random(5).randbytes(400_000).hex().encode()
    body = bytearray(PACK[coding](text))
    at = len(body) // 2
    if damage == "cut":
        del body[at:]
    else:
        body[at : at + 40] = b"\xff" * 40
    result = decoded(bytes(body), ("content-encoding", coding))
    assert result.cut
    # zstd and brotli give whole blocks alone, zlib every byte. After damage that is no cut, rubbish may come.
    sound = next((k for k, (a, b) in enumerate(zip(result.data, text, strict=False)) if a != b), len(result.data))
    assert sound > len(text) * (0.499 if coding in ("gzip", "deflate") else 0.15)
    assert damage == "flipped" or sound == len(result.data)


def test_a_wrong_checksum_costs_nothing() -> None:
    body = bytearray(gzip.compress(TEXT))
    body[-6] ^= 1
    assert decoded(bytes(body), ("content-encoding", "gzip")) == Decoded(TEXT, cut=True)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_found_out_before_it_goes_off(coding: str) -> None:
    body = PACK[coding](bytes(64 << 20))
    assert len(body) < 100_000
    tracemalloc.start()
    assert decoded(body, ("content-encoding", coding), limit=1 << 20).oversized
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_text_that_is_gzip_though_no_header_says_so_is_undone() -> None:
    assert decoded(gzip.compress(TEXT), ("content-type", "text/html")).data == TEXT
    twice = gzip.compress(gzip.compress(TEXT))
    assert decoded(twice, ("content-type", "text/html"), ("content-encoding", "gzip")).data == TEXT
    packed = gzip.compress(TEXT)
    assert decoded(packed, ("content-type", "application/gzip")).data == packed


def test_chunks_are_joined_though_no_header_says_so() -> None:
    assert decoded(chunked(TEXT)).data == TEXT
    assert decoded(chunked(TEXT)[:-40]).data == chunked(TEXT)[:-40]
    assert decoded(b"1a\nis a number\n0\n").data == b"1a\nis a number\n0\n"


def test_codings_are_undone_in_the_reverse_of_their_order() -> None:
    body = chunked(gzip.compress(brotli.compress(TEXT)))
    assert decoded(body, ("content-encoding", "br, gzip"), ("transfer-encoding", "chunked")).data == TEXT


def test_chunks_are_joined() -> None:
    body = chunked(TEXT)
    assert dechunk(body) == (TEXT, False)
    assert dechunk(body[:2500])[1]
    assert TEXT.startswith(dechunk(body[:2500])[0])
    assert dechunk(chunked(TEXT, 10**6)[:3000]) == (TEXT[: 3000 - len(b"2345;ext=1\r\n")], True)


@pytest.mark.parametrize("size", [b"zzz", b"3e7", b"3ea", b"1", b"900", b"ffffffffff", b"", b"-5", b"0x3e8"])
def test_a_chunk_of_wrong_size_ends_where_the_next_begins(size: bytes) -> None:
    body = chunked(TEXT)
    second = body.index(b"\r\n3e8;", 10) + 2
    assert dechunk(body[:second] + size + body[second + 3 :]) == (TEXT, True)
    inserted = dechunk(body[:second] + size + b"\r\n" + body[second:])
    assert inserted[1] and inserted[0].startswith(TEXT[:1000]) and inserted[0].endswith(TEXT[2000:])


def test_many_wrong_chunks_take_no_longer_than_their_length() -> None:
    body = b"1\r\nX\r\n" + b"1\r\nX" * 200_000  # looking ahead for every one would take minutes
    assert dechunk(body) == (b"X" * 200_001, True)


def test_text_that_begins_like_a_chunk_size_is_not_one() -> None:
    assert dechunk(b"face\nThe rest of the page") == (b"face\nThe rest of the page", False)


def test_responses_are_split_into_status_headers_and_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-A: 1\r\nx-a: 2\r\nFold: a\r\n b\r\nnonsense"
    response = parse_response(head + b"\r\n\r\nbody\r\n\r\nmore")
    assert response is not None
    assert (response.status, response.body) == (200, b"body\r\n\r\nmore")
    assert response.get("content-type") == "text/html"
    assert response.all("x-a") == ["1", "2"]
    assert response.get("fold") == "a b"
    assert response.get("absent") == ""


@pytest.mark.parametrize(
    ("block", "status"),
    [(b"HTTP/2 204\r\n\r\n", 204), (b"HTTP/1.0 404 Not Found\nA: b\n\nbody", 404), (b"HTTP/1.1 200", 200)],
)
def test_odd_status_lines_are_read(block: bytes, status: int) -> None:
    response = parse_response(block)
    assert response is not None and response.status == status


@pytest.mark.parametrize("block", [b"", b"<html>", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"])
def test_what_is_not_http_is_none(block: bytes) -> None:
    assert parse_response(block) is None


def test_content_type_is_taken_apart() -> None:
    assert media_type('Text/HTML ; charset="UTF-8"') == "text/html"
    assert media_type("") == ""
    assert charset_of('text/html; charset="UTF-8"') == "UTF-8"
    assert charset_of("text/html; Charset = koi8-r; x=y") == "koi8-r"
    assert charset_of("text/html") == ""


def test_a_content_type_of_mere_blanks_takes_no_longer_than_its_length() -> None:
    blanks = " " * 200_000
    assert charset_of(f"text/html; charset={blanks};") == ""
    assert charset_of(f"text/html; charset{blanks}=  'utf-8'") == "utf-8"
