import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra import prefect_server
from infra.launch import free_port

PROXIES = ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def healthy() -> Iterator[str]:
    server = ThreadingHTTPServer((prefect_server.HOST, 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{prefect_server.HOST}:{server.server_port}/api"
    server.shutdown()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a proxy that does not answer."""
    for name in PROXIES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", f"http://{prefect_server.HOST}:{free_port()}")
    return monkeypatch


def test_our_server_is_not_looked_for_behind_the_proxy(proxied, healthy, tmp_path):
    proxied.setenv("PREFECT_API_URL", healthy)
    proxied.setattr(prefect_server, "START_SECONDS", 3.0)
    (tmp_path / "log").touch()

    class Guard:
        def poll(self) -> None:
            return None

    with prefect_server.prefect_api() as url:
        prefect_server._wait_healthy(Guard(), url, tmp_path / "log")


@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({}, "127.0.0.1,localhost", "127.0.0.1,localhost"),
        ({"NO_PROXY": "inside, localhost"}, "inside,localhost,127.0.0.1", "inside,localhost,127.0.0.1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost", "b,127.0.0.1,localhost"),
    ],
)
def test_what_the_user_exempts_from_the_proxy_stays_so(proxied, given, lower, upper):
    for name, value in given.items():
        proxied.setenv(name, value)
    prefect_server._spare_loopback_the_proxy()
    assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == (lower, upper)


def test_prefects_database_is_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    assert stat.S_IMODE(prefect_server._made_home().stat().st_mode) == 0o700
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "own"))
    assert stat.S_IMODE(prefect_server._made_home().stat().st_mode) == 0o700
    (tmp_path / "own").chmod(0o750)
    assert stat.S_IMODE(prefect_server._made_home().stat().st_mode) == 0o750  # the user's business
