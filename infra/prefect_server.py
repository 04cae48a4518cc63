"""Prefect's server for the runs of this machine: started when none is configured, gone when we are.

Prefect can start a temporary server by itself, but that one outlives a killed run. Ours runs under `infra.guard`. Its
database lies in Sluice's cache (PREFECT_HOME, unless set), so that runs show up in the UI of `sluice serve` later.
"""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import EnvironmentProblem
from infra.launch import free_port
from infra.settings import cache_dir

HOST = "127.0.0.1"
START_SECONDS = 120.0
POLL_SECONDS = 0.2
TAIL_BYTES = 2000
DRAIN_SECONDS = 10.0
PROXY_EXCEPTIONS = ("no_proxy", "NO_PROXY")


def prefect_home() -> Path:
    """PREFECT_HOME, else a folder in Sluice's cache."""
    given = os.environ.get("PREFECT_HOME")
    return Path(given) if given else cache_dir() / "prefect"


def _made_home() -> Path:
    """Prefect's folder for us alone: its database keeps the parameters of runs, and an address may hold a password."""
    home = prefect_home()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.environ.get("PREFECT_HOME"):  # in our cache; `sluice doctor` may have had Prefect make it
        with contextlib.suppress(PermissionError):  # in a cache that several people share it is the first one's
            home.chmod(0o700)
    return home


def _spare_loopback_the_proxy() -> None:
    """Let no proxy be asked for this machine's own servers, neither by us nor by our children."""
    named = [os.environ.get(name) for name in PROXY_EXCEPTIONS]
    for name in PROXY_EXCEPTIONS:  # where only one is set, the new one must not hide what it says
        listed = [one.strip() for one in (os.environ.get(name) or next(filter(None, named), "")).split(",")]
        os.environ[name] = ",".join(dict.fromkeys([*filter(None, listed), HOST, "localhost"]))


@contextmanager
def prefect_api(port: int | None = None, ui: bool = False) -> Iterator[str]:
    """A running Prefect API for this process and its children; enter it before prefect is imported.

    A server named by PREFECT_API_URL is used as it is. Otherwise one is started on loopback.

    Args:
        port: where to listen; by default any free port.
        ui: serve Prefect's web interface too.

    Raises:
        EnvironmentProblem: the server does not come up; the message has its last words.
    """
    _spare_loopback_the_proxy()
    given = os.environ.get("PREFECT_API_URL")
    if given and port is None:
        yield given
        return
    port = port or free_port()
    home = _made_home()
    log = home / "server.log"
    os.environ["PREFECT_HOME"] = str(home)
    url = f"http://{HOST}:{port}/api"
    guard = _start(port, ui, log)
    try:
        _wait_healthy(guard, url, log)
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url
        finally:
            _drain()
    finally:
        if given is None:
            os.environ.pop("PREFECT_API_URL", None)
        else:
            os.environ["PREFECT_API_URL"] = given
        if guard.stdin is not None:
            guard.stdin.close()
        guard.wait()


def _drain() -> None:
    """Wait until what Prefect sends in the background (logs, events) has reached the server that is about to end."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=DRAIN_SECONDS)


def _start(port: int, ui: bool, log: Path) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "infra.guard", sys.executable, "-m", "uvicorn", "--factory"]
    argv += ["prefect.server.api.server:create_app", "--host", HOST, "--port", str(port), "--log-level", "warning"]
    environment = {
        **os.environ,
        "PREFECT_API_URL": "",
        "PREFECT_UI_ENABLED": "1" if ui else "0",
        "PREFECT_UI_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    if not ui:
        environment["PREFECT__SERVER_EPHEMERAL"] = "1"
        environment["PREFECT__SERVER_FINAL"] = "1"
    with log.open("ab") as output:
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment)


def _wait_healthy(guard: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and guard.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):  # not listening yet
            time.sleep(POLL_SECONDS)
    words = log.read_text(encoding="utf-8", errors="replace")[-TAIL_BYTES:].strip().splitlines()
    last = words[-1].strip() if words else "it said nothing"
    raise EnvironmentProblem(f"Prefect's server did not start ({last}); the whole of what it said: {log}")
