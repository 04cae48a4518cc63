"""Naming a crawl: what cannot be meant is refused with a reason."""

import pytest
from pydantic import ValidationError

from tasks.crawl import CrawlParams


@pytest.mark.parametrize("known", ["CC-MAIN-2026-04", "CC-MAIN-2012", "CC-MAIN-2009-2010"])
def test_ids_of_common_crawl(known: str) -> None:
    params = CrawlParams(id=known, kind="wet")
    assert params.listing == f"https://data.commoncrawl.org/crawl-data/{known}/wet.paths.gz"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": "2026-04"}, "is no crawl id; they look like CC-MAIN-2026-04"),
        ({"id": "CC-MAIN-2026-04/../x"}, "is no crawl id"),
        ({"id": "CC-MAIN-2026-04", "paths": "here"}, "give crawl.paths or crawl.id=CC-MAIN-2026-04, not both"),
        ({"id": "CC-MAIN-2026-04", "kind": "wat"}, "'warc' or 'wet'"),
        ({"max_files": 3}, "give one"),
        ({"sample_files": 2.5}, "a share below 1 or a whole number"),
        ({"sample_files": 0}, "greater than 0"),
        ({"max_files": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CrawlParams.model_validate(given)


def test_a_mirror_may_be_a_server_a_bucket_or_a_folder() -> None:
    for base in ("https://mirror.example.org/cc", "https://mirror.example.org/cc/", "s3://commoncrawl/", "/data/cc"):
        listing = CrawlParams(id="CC-MAIN-2026-04", base_url=base).listing
        assert listing == f"{base.rstrip('/')}/crawl-data/CC-MAIN-2026-04/warc.paths.gz"


def test_how_servers_are_asked() -> None:
    access = CrawlParams(attempts=3, retry_seconds=90, timeout_seconds=5, s3_endpoint="http://minio:9000").access
    assert (access.attempts, access.first_delay, access.max_delay, access.timeout) == (3, 90, 90, 5)
    assert access.s3_endpoint == "http://minio:9000"
    assert CrawlParams().access.max_delay == 60
