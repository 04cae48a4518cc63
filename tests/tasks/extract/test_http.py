"""HTTP bodies: codings undone, headers not believed against the bytes, broken ones read as far as they go."""

import gzip
import zlib

import brotli
import pytest

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


PACKED = [
    ("gzip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw_deflate(TEXT)),
    ("br", brotli.compress(TEXT)),
]


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_codings_are_undone(coding: str, body: bytes) -> None:
    result = decoded(body, ("content-encoding", coding))
    assert (result.data, result.cut, result.oversized) == (TEXT, False, False)


def test_zstd_is_undone() -> None:
    zstandard = pytest.importorskip("zstandard")
    assert decoded(zstandard.compress(TEXT), ("content-encoding", "zstd")).data == TEXT


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_a_body_that_breaks_off_gives_what_was_there(coding: str, body: bytes) -> None:
    text = bytes(i * 7919 % 251 for i in range(60_000))
    packed = {"gzip": gzip.compress, "x-gzip": gzip.compress, "br": brotli.compress}.get(coding, zlib.compress)(text)
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


def test_unknown_codings_are_named() -> None:
    assert decoded(TEXT, ("content-encoding", "compress")).unknown == "compress"


def test_codings_are_undone_in_the_reverse_of_their_order() -> None:
    body = chunked(gzip.compress(brotli.compress(TEXT)))
    assert decoded(body, ("content-encoding", "br, gzip"), ("transfer-encoding", "chunked")).data == TEXT


def test_chunks_are_joined_and_a_broken_one_ends_the_body() -> None:
    assert dechunk(chunked(TEXT)) == (TEXT, False)
    body = chunked(TEXT)
    assert dechunk(body[:2500])[1]
    assert TEXT.startswith(dechunk(body[:2500])[0])
    second = body.index(b"\r\n3e8;", 10) + 2
    broken = body[:second] + b"zzz\r\n" + body[second:]
    assert dechunk(broken) == (TEXT[:1000], True)


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
