"""The bytes of a remote file, from as many requests as it takes.

A file is known by its size and its validator (ETag, or Last-Modified where a server gives no ETag), as `probe` found
them. Every answer must carry the same ones: a file that changes on the way is an error and never a mixture of two. What
a broken connection has brought is kept, and the next request goes on from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from infra.errors import BadInput
from infra.remote import http, s3
from infra.remote.access import CHANGED_ADVICE, Access, Changed, Patience, Transient
from infra.remote.address import is_s3, shown
from infra.remote.reply import Reply

READ_STEP = 1 << 18  # bytes asked of a connection at once
MAX_WHOLE_BYTES = 256 << 20  # of a file that is read at once: Common Crawl's lists of paths have about 0.2 MB

T = TypeVar("T")


@dataclass
class Traffic:
    """What the reading of a file has cost so far."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0


class RemoteFile:
    """A file of known size and validator, read by ranges. Not for several threads at once."""

    def __init__(self, url: str, size: int, validator: str, access: Access) -> None:
        self.url = url
        self.size = size
        self.validator = validator
        self.traffic = Traffic()
        self._access = access
        self._whole: Reply | None = None  # of a server that ignores ranges: read on in it as long as that goes forward
        self._position = 0  # of the next byte that `_whole` gives

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop), as many as the file has of them.

        Raises:
            Changed: the file is not the one that was probed.
            Unreachable: every attempt failed.
            BadInput: the server refuses.
        """
        stop = min(stop, self.size)
        received = bytearray()
        patience = Patience(self._access, self.url)
        before = 0
        while start + len(received) < stop:
            try:
                self._receive(start + len(received), stop, received)
            except Transient as error:
                self.close()
                self.traffic.retries += 1
                patience.wait(error, len(received) - before)
                before = len(received)
        self.traffic.bytes += len(received)
        return bytes(received)

    def close(self) -> None:
        """Let go of a connection in use, if there is one."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _receive(self, start: int, stop: int, received: bytearray) -> None:
        """Append what one request brings of [start, stop), at least one byte."""
        reply = self._reply(start, stop)
        kept = False
        try:
            position = self._position if reply is self._whole else reply.start
            while position < stop:
                wanted = (start if position < start else stop) - position
                piece = reply.read(min(READ_STEP, wanted))
                if not piece:
                    if position == reply.stop and position > start:
                        return  # less than was asked for, as a server may; the rest is asked for next
                    raise Transient(f"the body ended at byte {position}, before {reply.stop or stop}")
                if position >= start:
                    received += piece
                position += len(piece)
            if reply.whole and position < self.size:
                self._whole, self._position, kept = reply, position, True
        finally:
            if not kept:
                if reply is self._whole:
                    self._whole = None
                reply.close()

    def _reply(self, start: int, stop: int) -> Reply:
        if self._whole is not None and self._position <= start:
            return self._whole
        self.close()
        self.traffic.requests += 1
        reply = _request(self.url, start, stop, self.validator, self._access)
        problem = self._mismatch(reply)
        if problem is None and reply.start <= start and (reply.start == start or reply.whole):
            return reply
        reply.close()
        if problem is not None:
            raise Changed(f"{shown(self.url)}: the file changed while it was read ({problem}); {CHANGED_ADVICE}")
        raise Transient(f"the server sent bytes from {reply.start} on instead of {start}")

    def _mismatch(self, reply: Reply) -> str | None:
        if reply.validator is not None and _plain(reply.validator) != _plain(self.validator):
            return f"{self.validator} became {reply.validator}"
        if reply.size is not None and reply.size != self.size:
            return f"{self.size} bytes became {reply.size}"
        return None


def probe(url: str, head_bytes: int, access: Access) -> tuple[RemoteFile, bytes]:
    """Find out a remote file's size and validator, and read its first bytes: one request.

    A request for a range is understood where HEAD is refused (presigned addresses), and brings the bytes along.

    Raises:
        BadInput: there is no such file, it is empty, or the server says too little to tell that it stays the same.
        Unreachable: every attempt failed.
    """
    return _persist(url, access, partial(_probe_once, url, head_bytes, access))


def _probe_once(url: str, head_bytes: int, access: Access) -> tuple[RemoteFile, bytes]:
    reply = _request(url, 0, head_bytes, None, access)
    try:
        if reply.size is None:
            raise BadInput(f"{shown(url)}: the server does not say how long the file is; fetch it and name the copy")
        if reply.validator is None:
            raise BadInput(
                f"{shown(url)}: the server gives neither ETag nor Last-Modified, so a change of the file would go"
                " unnoticed; fetch it and name the copy"
            )
        if reply.start != 0:
            raise Transient(f"the server sent bytes from {reply.start} on instead of 0")
        return RemoteFile(url, reply.size, reply.validator, access), _read(reply, min(head_bytes, reply.size))
    finally:
        reply.close()


def read_whole(url: str, access: Access) -> bytes:
    """All bytes of a file that is small enough to be held, such as a list of paths.

    Raises:
        BadInput: there is no such file, or it is too large.
        Unreachable: every attempt failed.
    """
    file, head = probe(url, READ_STEP, access)
    if file.size > MAX_WHOLE_BYTES:
        raise BadInput(f"{shown(url)}: {file.size:,} bytes are too many for a list of files")
    try:
        return head + file.read(len(head), file.size)
    finally:
        file.close()


def list_s3(url: str, access: Access) -> list[str]:
    """Addresses of all objects below `s3://bucket/prefix/`, in key order."""
    found: list[str] = []
    after: str | None = None
    while True:
        page, after = _persist(url, access, partial(s3.list_objects, url, access, after))
        found += page
        if after is None:
            return found


def _persist(url: str, access: Access, action: Callable[[], T]) -> T:
    patience = Patience(access, url)
    while True:
        try:
            return action()
        except Transient as error:
            patience.wait(error)


def _request(url: str, start: int, stop: int | None, validator: str | None, access: Access) -> Reply:
    return (s3 if is_s3(url) else http).request(url, start, stop, validator, access)


def _read(reply: Reply, n: int) -> bytes:
    pieces: list[bytes] = []
    while n > 0:
        piece = reply.read(n)
        if not piece:
            raise Transient(f"the body ended {n} bytes early")
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def _plain(validator: str) -> str:
    """An ETag without the mark that it is weak: a proxy that repacks may add it."""
    return validator.removeprefix("W/")
