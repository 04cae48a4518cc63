"""The answer to one request for bytes of a file, the same for every protocol."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.remote.access import Transient

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Reply:
    """Bytes [start, stop) of a file of `size` bytes, to be read once and in order."""

    start: int
    stop: int | None
    """None: the server does not say how many it sends."""
    size: int | None
    """Of the whole file; None: the server does not say."""
    validator: str | None
    """ETag, quotes and all; the Last-Modified date where there is no ETag."""
    read: Callable[[int], bytes]
    """At most so many further bytes; none at the end. Raises `Transient` when the connection breaks."""
    close: Callable[[], None]

    @property
    def whole(self) -> bool:
        """The server ignored the range and sends the file from its beginning."""
        return self.start == 0 and (self.stop is None or self.stop == self.size)


def reply_of(status: int, headers: Mapping[str, str], read: Callable[[int], bytes], close: Callable[[], None]) -> Reply:
    """A `Reply` from the header fields (names in lower case) of a 200 or 206.

    Raises:
        Transient: a 206 does not say which bytes it holds.
    """
    validator = headers.get("etag") or headers.get("last-modified")
    length = headers.get("content-length", "")
    if status != 206:
        size = int(length) if length.isdigit() else None
        return Reply(0, size, size, validator, read, close)
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        close()
        raise Transient("the server sent a part of the file and did not say which")
    size = None if found[3] == "*" else int(found[3])
    return Reply(int(found[1]), int(found[2]) + 1, size, validator, read, close)
