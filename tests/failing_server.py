"""An HTTP server on loopback that serves files by range, speaks enough S3 for boto3, and fails on purpose.

    with FailingServer({"/a.warc.gz": data}) as server:
        server.faults["/a.warc.gz"] = [Fault(status=503), Fault(cut_after=100)]   # the next requests, in order
        server.always["/b.warc.gz"] = Fault(status=404)                           # every request

`server.log` says what was asked.
"""

import hashlib
import re
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from infra.remote import Access

# Waits of milliseconds; patience with a slow machine, though.
HASTE = Access(attempts=5, first_delay=0.002, max_delay=0.01, timeout=10)
SOON_DEAD = replace(HASTE, timeout=0.3)


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong."""

    status: int | None = None
    retry_after: str | None = None
    cut_after: int | None = None
    """Send so many bytes of the body, then close the connection; with `reset`, what has arrived may be lost too."""
    declared_length: int | None = None
    """A Content-Length that is not the body's, which is cut to it or ends before it."""
    at_most: int | None = None
    """A smaller range than was asked for, and said so: lawful."""
    ignore_range: bool = False
    shift: int = 0
    """Bytes by which the range that is sent begins too late."""
    hang: bool = False
    """Say nothing until the client gives up."""
    reset: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    redirect: str | None = None


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    start: int | None
    stop: int | None
    headers: dict[str, str]
    answered: int
    client: int
    """The client's port: one a connection."""


class FailingServer:
    """Serves `files` (path -> bytes) from a thread of its own until the block is left."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.etags: dict[str, str | None] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.log: list[Asked] = []
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def etag(self, path: str) -> str | None:
        """As set in `etags`, or a digest of the file."""
        if path in self.etags:
            return self.etags[path]
        return f'"{hashlib.sha256(self.files[path]).hexdigest()[:16]}"'

    def fault(self, path: str) -> Fault:
        """What goes wrong with the next answer."""
        with self._lock:
            return self.faults[path].pop(0) if self.faults[path] else self.always.get(path, Fault())

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.log.append(asked)

    def bytes_asked(self, path: str) -> int:
        """Of all ranges of a file, those of failed requests included."""
        return sum((one.stop or 0) - (one.start or 0) for one in self.log if one.path == path)


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[FailingServer]:
    """A server of these files."""
    with FailingServer(files) as server:
        yield server


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news here."""


def _handler(world: FailingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        path_asked = ""
        wanted: tuple[int | None, int | None] = (None, None)

        def log_message(self, *_: Any) -> None:
            """Keep stderr clean."""

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            self.path_asked = unquote(asked.path)
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if found:
                self.wanted = int(found[1]), int(found[2]) + 1 if found[2] else None
            query = parse_qs(asked.query)
            if "list-type" in query:
                self._list(self.path_asked.strip("/"), query.get("prefix", [""])[0], query.get("continuation-token"))
                return
            fault = world.fault(self.path_asked)
            if fault.hang:
                self._note(0)
                world.over.wait(5)
                self._reset()
            elif fault.reset and fault.cut_after is None:
                self._note(0)
                self._reset()
            elif fault.redirect is not None:
                self._say(302, b"", {"Location": fault.redirect})
            elif fault.status is not None:
                extra = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                self._say(fault.status, b"<Error><Code>Failed</Code></Error>", extra)
            elif self.path_asked not in world.files:
                self._say(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            else:
                self._send(world.files[self.path_asked], fault)

        def _send(self, data: bytes, fault: Fault) -> None:
            etag = world.etag(self.path_asked)
            headers = {} if etag is None else {"ETag": etag}
            if self.headers.get("If-Match") not in (None, etag):
                self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>", headers)
                return
            start, stop = self.wanted
            if start is None or fault.ignore_range:
                status, body = 200, data
            elif start >= len(data):
                self._say(416, b"<Error><Code>InvalidRange</Code></Error>", headers)
                return
            else:
                start += fault.shift
                stop = min(len(data) if stop is None else stop, len(data), start + (fault.at_most or len(data)))
                status, body = 206, data[start:stop]
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            self._say(status, body, {**headers, **fault.headers}, fault)

        def _say(self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None) -> None:
            self._note(status)
            fault = fault or Fault()
            declared = len(body) if fault.declared_length is None else fault.declared_length
            self.send_response(status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(declared))
            self.end_headers()
            try:
                self.wfile.write(body[:declared] if fault.cut_after is None else body[: fault.cut_after])
            except OSError:  # the client has what it wants
                self.close_connection = True
                return
            if fault.cut_after is not None and fault.reset:
                self._reset()
            elif fault.cut_after is not None or declared > len(body):
                self.close_connection = True

        def _reset(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

        def _note(self, status: int) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            world.note(Asked(self.path_asked, *self.wanted, headers, status, self.client_address[1]))
            self.wanted = None, None

        def _list(self, bucket: str, prefix: str, token: list[str] | None) -> None:
            """ListObjectsV2, two keys a page."""
            keys = sorted(path.removeprefix(f"/{bucket}/") for path in world.files if path.startswith(f"/{bucket}/"))
            keys = [key for key in keys if key.startswith(prefix) and key > (token or [""])[0]]
            page, more = keys[:2], len(keys) > 2
            entries = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in page)
            further = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
            self._say(
                200,
                f"<?xml version='1.0'?><ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>"
                f"<IsTruncated>{str(more).lower()}</IsTruncated>{further}{entries}</ListBucketResult>".encode(),
                {"Content-Type": "application/xml"},
            )

    return Handler
