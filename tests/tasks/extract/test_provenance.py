"""Ids, dates, hosts and sites."""

import hashlib
from datetime import UTC, datetime

import pytest

from tasks.extract.provenance import digest_fits, doc_id, host_of, parse_date, site_of
from tests.miniature import payload_digest


def test_the_id_is_made_of_the_documented_bytes() -> None:
    body = b"<html>"
    written = f"http://example.com/\n2024-05-18T09:00:00Z\n{payload_digest(body)}".encode()
    made = doc_id("http://example.com/", "2024-05-18T09:00:00Z", hashlib.sha1(body).digest())
    assert made == hashlib.sha256(written).hexdigest()[:32]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-18T09:01:02Z", datetime(2024, 5, 18, 9, 1, 2, tzinfo=UTC)),
        ("2024-05-18T09:01:02.123456789Z", datetime(2024, 5, 18, 9, 1, 2, 123456, tzinfo=UTC)),
        ("2024-05-18T09:01:02.5Z", datetime(2024, 5, 18, 9, 1, 2, 500000, tzinfo=UTC)),
        ("2019-08-15T01:02", datetime(2019, 8, 15, 1, 2, tzinfo=UTC)),
        ("2019-08", datetime(2019, 8, 1, tzinfo=UTC)),
        ("2019", datetime(2019, 1, 1, tzinfo=UTC)),
        ("2019-06-31", None),
        ("2019-06-31T01:02:03Z", None),
        ("2024-W20-6T09:01:02Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(text: str, moment: datetime | None) -> None:
    assert parse_date(text) == moment


@pytest.mark.parametrize(
    ("url", "host", "site"),
    [
        ("https://A.B.Example.CO.UK:8080/x?y#z", "a.b.example.co.uk", "example.co.uk"),
        ("http://docs.sample/page", "docs.sample", "docs.sample"),
        ("http://a.docs.sample./page", "a.docs.sample", "docs.sample"),
        ("http://192.0.2.1/", "192.0.2.1", "192.0.2.1"),
        ("http://[2001:db8::1]/", "2001:db8::1", "2001:db8::1"),
        ("http://localhost/", "localhost", "localhost"),
        ("http://co.uk/", "co.uk", "co.uk"),
        ("http://bücher.de/", "bücher.de", "bücher.de"),
        ("http://a.example.com", "a.example.com", "example.com"),
        ("http://me:secret@a.example.com/", "a.example.com", "example.com"),
        ("dns:example.com", "", ""),
        ("http://[broken/", "", ""),
        ("", "", ""),
    ],
)
def test_host_and_site(url: str, host: str, site: str) -> None:
    assert (host_of(url), site_of(host)) == (host, site)


@pytest.mark.parametrize(
    ("declared", "fits"),
    [
        ("sha1:VL2MMHO4YXUKFWV63YHTWSBM3GXKSQ2N", True),
        ("SHA-1: vl2mmho4yxukfwv63yhtwsbm3gxksq2n ", True),
        ("sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", True),
        ("sha1:qvTGHdzF6KLavt4PO0gs2a6pQ00=", True),
        ("sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", False),
        ("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", None),
        ("sha1:", None),
        ("", None),
    ],
)
def test_digests_are_written_in_three_ways(declared: str, fits: bool | None) -> None:
    assert digest_fits(declared, hashlib.sha1(b"hello").digest()) is fits
