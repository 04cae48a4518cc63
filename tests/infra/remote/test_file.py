"""Reading a file from a server that fails: every byte, once, or one line that says why not."""

import gzip
import random
import socket
import ssl
from dataclasses import replace

import pytest
from urllib3.exceptions import MaxRetryError, SSLError

from infra.errors import BadInput
from infra.remote import Changed, RemoteFile, Unreachable, http, probe, read_whole
from infra.remote.access import Transient
from tests.failing_server import HASTE, SOON_DEAD, FailingServer, Fault

DATA = random.Random(5).randbytes(900_001)
PATH = "/crawl-data/a.warc.gz"


@pytest.fixture
def server():
    with FailingServer({PATH: DATA}) as one:
        yield one


@pytest.fixture
def file(server: FailingServer) -> RemoteFile:
    return probe(server.url + PATH, 100, HASTE)[0]


def test_a_probe_is_one_request_that_brings_size_etag_and_head(server: FailingServer) -> None:
    file, head = probe(server.url + PATH, 8192, HASTE)
    assert (file.size, file.validator, head) == (len(DATA), server.etag(PATH), DATA[:8192])
    assert len(server.log) == 1
    assert server.log[0].headers["user-agent"].startswith("Sluice")
    assert server.log[0].headers["accept-encoding"] == "identity"


def test_only_the_range_is_fetched_and_the_file_must_be_the_same(server: FailingServer, file: RemoteFile) -> None:
    assert file.read(500, 700_000) == DATA[500:700_000]
    asked = server.log[-1]
    assert (asked.start, asked.stop, asked.headers["if-match"]) == (500, 700_000, server.etag(PATH))
    assert file.read(len(DATA) - 5, len(DATA) + 100) == DATA[-5:]
    assert (file.traffic.requests, file.traffic.retries, file.traffic.bytes) == (2, 0, 699_505)


def test_one_connection_serves_many_reads(file: RemoteFile, server: FailingServer) -> None:
    for start in range(0, 900_000, 100_000):
        file.read(start, start + 100_000)
    assert len({asked.client for asked in server.log[-9:]}) == 1


FAULTS = {
    "503": Fault(status=503),
    "503 with Retry-After": Fault(status=503, retry_after="0"),
    "429": Fault(status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    "500": Fault(status=500),
    "reset before the answer": Fault(reset=True),
    "cut in the body": Fault(cut_after=300_000),
    "reset in the body": Fault(cut_after=300_000, reset=True),
    "cut after the header": Fault(cut_after=0),
    "Content-Length too small": Fault(declared_length=1000),
    "Content-Length too large": Fault(declared_length=800_000),
    "another range": Fault(shift=10),
    "silence": Fault(hang=True),
    "a range that does not say which": Fault(headers={"Content-Range": ""}),
    "a smaller range": Fault(at_most=200_000),
    "the whole file": Fault(ignore_range=True),
    "the whole file, cut": Fault(ignore_range=True, cut_after=400_000),
}


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_or_doubled_whatever_fails(server: FailingServer, file: RemoteFile, name: str) -> None:
    server.faults[PATH] = [FAULTS[name], FAULTS[name]]
    if FAULTS[name].hang:
        file = RemoteFile(file.url, file.size, file.validator, SOON_DEAD)
    assert file.read(100, 600_100) == DATA[100:600_100]


def test_all_of_it_in_one_read(server: FailingServer, file: RemoteFile) -> None:
    server.faults[PATH] = [fault for fault in FAULTS.values() if not fault.hang]
    access = replace(HASTE, attempts=100)
    patient = RemoteFile(file.url, file.size, file.validator, access)
    assert patient.read(0, len(DATA)) == DATA
    assert patient.traffic.retries >= 6


def test_what_came_before_the_cut_is_not_asked_for_again(server: FailingServer, file: RemoteFile) -> None:
    server.faults[PATH] = [Fault(cut_after=400_000)]
    assert file.read(0, 600_000) == DATA[:600_000]
    first, second = server.log[-2:]
    assert (first.start, second.start, file.traffic.retries) == (0, 400_000, 1)


def test_retry_after_is_waited_for(server: FailingServer, file: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("infra.remote.access.time.sleep", waits.append)
    server.faults[PATH] = [Fault(status=503, retry_after="17"), Fault(status=503)]
    assert file.read(0, 10) == DATA[:10]
    assert 17 <= waits[0] < 17.1 and waits[1] < 0.1


def test_a_server_without_ranges_is_read_through_once(server: FailingServer, file: RemoteFile) -> None:
    server.always[PATH] = Fault(ignore_range=True)
    before = len(server.log)
    for start in range(200_000, 900_000, 100_000):
        assert file.read(start, start + 100_000) == DATA[start : start + 100_000]
    assert len(server.log) - before == 1
    assert file.read(0, 10) == DATA[:10]  # back to the beginning: again
    file.close()
    assert len(server.log) - before == 2


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(reset=True), Fault(cut_after=0)])
def test_the_last_attempt_is_one_line(server: FailingServer, file: RemoteFile, fault: Fault) -> None:
    server.always[PATH] = fault
    before = len(server.log)
    with pytest.raises(Unreachable, match=r"a\.warc\.gz: .*; 5 attempts within .* run the same command") as caught:
        file.read(0, 10)
    assert len(server.log) - before == 5 and "\n" not in str(caught.value)
    with pytest.raises(Unreachable):
        probe(server.url + PATH, 10, HASTE)


@pytest.mark.parametrize("status", [404, 403, 401, 410, 400])
def test_a_refusal_is_not_repeated(server: FailingServer, status: int) -> None:
    server.always[PATH] = Fault(status=status)
    with pytest.raises(BadInput, match=str(status)):
        probe(server.url + PATH, 10, HASTE)
    assert len(server.log) == 1


@pytest.mark.parametrize("etag", ['"new"', 'W/"new"'])
@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_changes_is_an_error_and_never_a_mixture(
    server: FailingServer, file: RemoteFile, etag: str, same_size: bool
) -> None:
    assert file.read(0, 1000) == DATA[:1000]
    server.files[PATH] = bytes(len(DATA)) if same_size else bytes(5000)
    server.etags[PATH] = etag
    with pytest.raises(Changed, match="changed"):
        file.read(1000, 2000)


def test_a_change_is_seen_where_the_server_does_not_check(server: FailingServer) -> None:
    server.etags[PATH] = 'W/"1"'  # weak: If-Match cannot be used
    file, _ = probe(server.url + PATH, 10, HASTE)
    assert file.read(0, 5) == DATA[:5] and "if-match" not in server.log[-1].headers
    server.etags[PATH] = 'W/"2"'
    with pytest.raises(Changed, match=r'W/"1" became W/"2"'):
        file.read(5, 10)
    server.etags[PATH] = None
    server.files[PATH] = DATA[:-1]
    with pytest.raises(Changed, match="900001 bytes became 900000"):
        file.read(5, 10)


def test_last_modified_stands_in_for_an_etag(server: FailingServer) -> None:
    server.etags[PATH] = None
    with pytest.raises(BadInput, match="neither ETag nor Last-Modified"):
        probe(server.url + PATH, 10, HASTE)
    server.always[PATH] = Fault(headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    file, _ = probe(server.url + PATH, 10, HASTE)
    assert file.validator == "Wed, 21 Oct 2015 07:28:00 GMT"
    assert file.read(5, 10) == DATA[5:10]
    server.always[PATH] = Fault(headers={"Last-Modified": "Thu, 22 Oct 2015 07:28:00 GMT"})
    with pytest.raises(Changed):
        file.read(5, 10)


def test_redirects_are_followed_and_counted(server: FailingServer) -> None:
    server.always["/old"] = Fault(redirect=PATH)
    file, head = probe(server.url + "/old", 10, HASTE)
    assert head == DATA[:10] and file.read(5, 20) == DATA[5:20]
    server.always["/round"] = Fault(redirect="/round")
    with pytest.raises(BadInput, match="redirects"):
        probe(server.url + "/round", 10, HASTE)


def test_credentials_go_to_the_server_and_nowhere_else(server: FailingServer) -> None:
    url = server.url.replace("http://", "http://me:se%20cret@") + PATH + "?X-Amz-Signature=abc"
    probe(url, 10, HASTE)
    assert server.log[-1].headers["authorization"] == "Basic bWU6c2UgY3JldA=="
    server.always[PATH] = Fault(status=403)
    with pytest.raises(BadInput) as caught:
        probe(url, 10, HASTE)
    assert "se%20cret" not in str(caught.value) and "Signature" not in str(caught.value)


def test_an_empty_file_and_a_host_that_is_not_there(server: FailingServer) -> None:
    server.files["/empty"] = b""
    with pytest.raises(BadInput, match="the file is empty"):
        probe(server.url + "/empty", 10, HASTE)
    server.__exit__()
    with pytest.raises(Unreachable, match=r"no connection; 5 attempts"):
        probe(server.url + PATH, 10, HASTE)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (socket.EAI_NONAME, BadInput, "no host has this name"),
        (socket.EAI_AGAIN, Unreachable, "could not be resolved; 5 attempts"),
    ],
)
def test_a_misspelt_host_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception], message: str
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "resolver")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with pytest.raises(kind, match=message):
        probe("http://data.comoncrawl.example/x", 10, HASTE)


def test_an_untrusted_certificate_is_said_at_once() -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = http._failure("https://example.org/x", MaxRetryError(None, "/x", SSLError(cause)))  # type: ignore[arg-type]
    assert isinstance(error, BadInput) and "not trusted (self-signed certificate)" in str(error)
    error = http._failure("https://example.org/x", SSLError("bad record mac"))
    assert isinstance(error, Transient)


def test_the_environments_proxy_is_used(server: FailingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    assert probe("http://crawl.example" + PATH, 10, HASTE)[1] == DATA[:10]
    assert server.log[-1].headers["host"] == "crawl.example"
    assert probe(server.url + PATH, 10, HASTE)[1] == DATA[:10]  # this machine itself is asked directly
    assert server.log[-1].headers["host"].startswith("127.0.0.1")


def test_unusable_addresses() -> None:
    with pytest.raises(BadInput, match="not a usable address"):
        probe("http://exa mple:nan/x", 10, HASTE)


def test_a_list_is_read_whole(server: FailingServer) -> None:
    text = gzip.compress(b"".join(b"crawl-data/%06d.warc.gz\n" % k for k in range(100_000)), 1)
    server.files["/warc.paths.gz"] = text
    server.faults["/warc.paths.gz"] = [Fault(status=503), Fault(cut_after=10), Fault(cut_after=len(text) // 2)]
    assert read_whole(server.url + "/warc.paths.gz", HASTE) == text
