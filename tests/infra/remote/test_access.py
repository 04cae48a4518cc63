"""Waiting, giving up, and what a status means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from infra.errors import BadInput
from infra.remote.access import Access, Changed, Patience, Transient, Unreachable, refusal, seconds_of
from infra.remote.address import file_name, is_remote, shown

URL = "https://me:secret@example.org/a.warc.gz?X-Amz-Signature=abc"


def test_the_bound_of_the_wait_doubles_up_to_the_largest() -> None:
    access = Access(first_delay=2, max_delay=20)
    for failures, bound in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 20), (50, 20)]:
        waits = [access.delay(failures, None) for _ in range(200)]
        assert 1 <= min(waits) < max(waits) <= bound + 1
        assert max(waits) > 1 + bound / 2  # and not always the least


def test_what_the_server_asks_for_comes_on_top_within_reason() -> None:
    access = Access(first_delay=0, max_delay=0)
    assert access.delay(1, 7.0) == 7
    assert access.delay(1, 1e9) == 600


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_of("120") == 120
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (seconds_of(in_a_minute) or 0) <= 60
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_of("soon") is None and seconds_of(None) is None


def test_patience_ends_in_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("infra.remote.access.time.sleep", slept.append)
    patience = Patience(Access(attempts=3, first_delay=1, max_delay=4), URL)
    patience.wait(Transient("the server answered 503", 30))
    patience.wait(Transient("the connection broke"))
    assert len(slept) == 2 and slept[0] > 30 > slept[1]
    with pytest.raises(Unreachable) as caught:
        patience.wait(Transient("the server answered 503"))
    text = str(caught.value)
    assert "https://example.org/a.warc.gz: the server answered 503; 3 attempts" in text
    assert "same command" in text and "secret" not in text and "Signature" not in text and "\n" not in text


def test_a_server_that_halts_but_moves_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.remote.access.time.sleep", lambda _: None)
    patience = Patience(Access(attempts=2), URL)
    for _ in range(10):
        patience.wait(Transient("the connection broke"), received=1 << 20)
    with pytest.raises(Unreachable):
        patience.wait(Transient("the connection broke"), received=10)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert refusal(URL, status) is None


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, BadInput, "there is no such file"),
        (403, BadInput, "refuses it"),
        (400, BadInput, "refuses the request"),
        (412, Changed, "changed since"),
        (416, BadInput, "the file is empty"),
    ],
)
def test_what_will_not_pass_is_said_at_once(status: int, kind: type[Exception], message: str) -> None:
    error = refusal(URL, status)
    assert isinstance(error, kind) and message in str(error) and "secret" not in str(error)


def test_common_crawls_bucket_wants_credentials() -> None:
    assert "https://data.commoncrawl.org/ does not" in str(refusal("s3://commoncrawl/crawl-data/x", 403))


def test_addresses() -> None:
    assert shown(URL) == "https://example.org/a.warc.gz"
    assert shown("s3://bucket/a?b#c") == "s3://bucket/a?b#c"
    assert file_name(URL) == "a.warc.gz"
    assert file_name("s3://bucket/deep/a?b") == "a?b"
    assert file_name("https://example.org/folder/") == ""
    assert is_remote("S3://bucket/key") and is_remote("http://x/y") and not is_remote("data/http.warc.gz")
    with pytest.raises(BadInput, match="no bucket"):
        file_name("s3:///key")
