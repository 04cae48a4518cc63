"""S3 through boto3 against a server that speaks enough of it."""

import random
import sys

import pytest

from infra.errors import BadInput, EnvironmentProblem
from infra.remote import Access, Changed, Unreachable, list_s3, probe, s3
from tests.failing_server import HASTE, FailingServer, Fault

pytest.importorskip("boto3")

DATA = random.Random(6).randbytes(300_000)
PATH = "/crawl/segments/00/a b.warc.gz"
URL = "s3://crawl/segments/00/a b.warc.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    s3._client.cache_clear()
    with FailingServer({PATH: DATA}) as one:
        yield one
    s3._client.cache_clear()


@pytest.fixture
def access(server: FailingServer) -> Access:
    return Access(**{**vars(HASTE), "s3_endpoint": server.url})


def test_an_object_is_read_by_range(server: FailingServer, access: Access) -> None:
    file, head = probe(URL, 1000, access)
    assert (file.size, file.validator, head) == (len(DATA), server.etag(PATH), DATA[:1000])
    assert file.read(5, 200_000) == DATA[5:200_000]
    asked = server.log[-1]
    assert (asked.start, asked.stop, asked.headers["if-match"]) == (5, 200_000, server.etag(PATH))
    assert asked.headers["user-agent"].startswith("Sluice") and "Credential=test/" in asked.headers["authorization"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=503, retry_after="0"), id="503"),
        pytest.param(Fault(status=500), id="500"),
        pytest.param(Fault(reset=True), id="reset"),
        pytest.param(Fault(cut_after=100_000), id="cut"),
        pytest.param(Fault(declared_length=9), id="short"),
        pytest.param(Fault(ignore_range=True), id="whole"),
    ],
)
def test_nothing_is_lost_whatever_fails(server: FailingServer, access: Access, fault: Fault) -> None:
    file, _ = probe(URL, 10, access)
    server.faults[PATH] = [fault, fault]
    assert file.read(7, 290_000) == DATA[7:290_000]


def test_errors_are_those_of_http(server: FailingServer, access: Access) -> None:
    with pytest.raises(BadInput, match=r"s3://crawl/none: there is no such file"):
        probe("s3://crawl/none", 10, access)
    file, _ = probe(URL, 10, access)
    server.etags[PATH] = '"other"'
    with pytest.raises(Changed, match="changed"):
        file.read(0, 10)
    server.always[PATH] = Fault(status=503)
    before = len(server.log)
    with pytest.raises(Unreachable, match="503; 5 attempts"):
        probe(URL, 10, access)
    assert len(server.log) - before == 5  # boto3 does not try on its own
    server.always[PATH] = Fault(status=403)
    with pytest.raises(BadInput, match="credentials"):
        probe(URL, 10, access)


def test_without_credentials_it_asks_unsigned(
    server: FailingServer, access: Access, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert probe(URL, 10, access)[1] == DATA[:10]
    assert "authorization" not in server.log[-1].headers


def test_the_environment_names_another_server(server: FailingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    assert probe(URL, 10, HASTE)[1] == DATA[:10]


def test_a_prefix_is_listed_page_by_page(server: FailingServer, access: Access) -> None:
    for k in range(5):
        server.files[f"/crawl/wet/{k}.warc.wet.gz"] = b"x"
    server.faults["/crawl"] = [Fault(status=503)]
    assert list_s3("s3://crawl/wet/", access) == [f"s3://crawl/wet/{k}.warc.wet.gz" for k in range(5)]


def test_without_boto3_one_line_says_what_to_install(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    s3._client.cache_clear()
    with pytest.raises(EnvironmentProblem, match=r"sluice\[s3\]"):
        probe(URL, 10, access)
