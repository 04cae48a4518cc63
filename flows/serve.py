"""`sluice serve`: Prefect's server with its UI, one process worker, the deployments, and the report pages.

All of it listens on loopback only, and all of it ends when this process does (see `infra.guard`).
"""

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flows.pages import ADDRESS_VARIABLE, PAGES
from infra.errors import BadInput, EnvironmentProblem
from infra.prefect_server import HOST, prefect_api
from infra.store import Store

PAGE_ADDRESS = re.compile(r"/([a-z-]+)/([0-9a-f]{16})")


@contextmanager
def serving(store: Store, port: int, reports_port: int) -> Iterator[list[str]]:
    """Server, worker, deployments and reports, as long as the block lasts; gives the deployments' names.

    Raises:
        EnvironmentProblem: a port is taken, or Prefect does not start.
    """
    for wanted, option in ((port, "--port"), (reports_port, "--reports-port")):
        _require_free(wanted, option)
    os.environ["SLUICE_STORE"] = str(store.root)
    os.environ[ADDRESS_VARIABLE] = f"http://{HOST}:{reports_port}"
    with prefect_api(port=port, ui=True), _reports(store, reports_port):
        from flows.deployments import POOL, register

        names = register()
        worker = _start_worker(POOL)
        try:
            yield names
        finally:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait()


def _start_worker(pool: str) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    argv = [sys.executable, "-m", "infra.guard", sys.executable, "-m", "prefect", "worker", "start"]
    argv += ["--pool", pool, "--type", "process", "--name", "sluice-worker"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})


@contextmanager
def _reports(store: Store, port: int) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer((HOST, port), partial(_ReportHandler, store))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _ReportHandler(http.server.BaseHTTPRequestHandler):
    """`/<stage>/<version>`: the pages of committed reports; nothing else of the store can be asked for."""

    def __init__(self, store: Store, *args: object) -> None:
        self._store = store
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        match = PAGE_ADDRESS.fullmatch(self.path)
        try:
            if match is None or match[1] not in PAGES:
                raise BadInput("not a report")
            body = self._store.open(f"{match[1]}/{match[2]}").file(PAGES[match[1]]).read_bytes()
        except (BadInput, OSError):
            self.send_error(404, "no such report")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the console belongs to Prefect."""


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise EnvironmentProblem(
                f"port {port} on {HOST} is taken (another `sluice serve`?); stop that, or choose one with {option}"
            ) from None
