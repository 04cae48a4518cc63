"""One request over HTTP(S), with urllib3's pools: a worker keeps its connection and opens its own."""

import socket
import ssl
import urllib.request
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from infra.errors import BadInput
from infra.remote.access import Access, Transient, refusal, seconds_of, user_agent
from infra.remote.address import shown
from infra.remote.reply import Reply, reply_of

if TYPE_CHECKING:
    from urllib3 import PoolManager  # imported when the first request is made

MAX_REDIRECTS = 5
CONNECT_SECONDS = 15.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def request(url: str, start: int, stop: int | None, validator: str | None, access: Access) -> Reply:
    """Ask for bytes [start, stop) of a file (to its end: None).

    Args:
        validator: the ETag that the file must still have; None: any.

    Raises:
        Transient: it failed in passing.
        SluiceError: it would fail again.
    """
    import urllib3
    from urllib3.exceptions import HTTPError, LocationValueError

    try:
        response = _pool(url).request(
            "GET",
            url,
            headers=_headers(url, start, stop, validator),
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, access.timeout), read=access.timeout),
            retries=urllib3.Retry(
                total=None,
                connect=0,
                read=0,
                status=0,
                other=0,
                redirect=MAX_REDIRECTS,
                respect_retry_after_header=False,
            ),
        )
    except LocationValueError as error:
        raise BadInput(f"{shown(url)}: not a usable address; write https://host/path") from error
    except HTTPError as error:
        raise _failure(url, error) from error
    if response.status not in (200, 206):
        wait = seconds_of(response.headers.get("retry-after"))
        response.close()
        raise refusal(url, response.status, start) or Transient(f"the server answered {response.status}", wait)

    def read(n: int) -> bytes:
        try:
            return response.read(n)
        except (HTTPError, OSError) as error:
            raise _failure(url, error) from error

    def close() -> None:
        # A body that was read to its end has given its connection back already; one that was not would block it.
        response.close()

    headers = {name.lower(): value for name, value in response.headers.items()}
    return reply_of(response.status, headers, read, close)


def _headers(url: str, start: int, stop: int | None, validator: str | None) -> dict[str, str]:
    from urllib3 import make_headers

    headers = {
        "User-Agent": user_agent(),
        "Accept-Encoding": "identity",  # ranges are of the file as it lies there
        "Range": f"bytes={start}-{'' if stop is None else stop - 1}",
    }
    if validator is not None and validator.startswith('"'):  # a weak one never matches (RFC 9110, 13.1.1)
        headers["If-Match"] = validator
    user = urlsplit(url)
    if user.username is not None:
        headers |= make_headers(basic_auth=f"{unquote(user.username)}:{unquote(user.password or '')}")
    return headers


def _failure(url: str, error: Exception) -> Exception:
    """What an exception of urllib3 means: in passing, or for good."""
    from urllib3 import exceptions as trouble

    if isinstance(error, trouble.MaxRetryError):
        if isinstance(error.reason, trouble.ResponseError):
            return BadInput(f"{shown(url)}: more than {MAX_REDIRECTS} redirects; check the address")
        error = error.reason or error
    if isinstance(error, trouble.NameResolutionError):
        cause = error.__cause__ or error.__context__
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return BadInput(f"{shown(url)}: no host has this name; check the address, and whether there is a network")
        return Transient("the host's name could not be resolved")
    if isinstance(error, trouble.SSLError) and error.args and isinstance(error.args[0], ssl.SSLCertVerificationError):
        return BadInput(f"{shown(url)}: the server's certificate is not trusted ({error.args[0].verify_message})")
    for kind, reason in (
        (trouble.NewConnectionError, "no connection"),
        (trouble.ConnectTimeoutError, "no connection in time"),
        (trouble.ReadTimeoutError, "the server fell silent"),
        (trouble.ProxyError, "the proxy gives no connection"),
        (trouble.IncompleteRead, "the body ended early"),
        (trouble.ProtocolError, "the connection broke"),
    ):
        if isinstance(error, kind):
            return Transient(reason)
    return Transient(f"the connection failed ({type(error).__name__})")


def _pool(url: str) -> "PoolManager":
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and host not in _LOOPBACK and not urllib.request.proxy_bypass(host):
        return _manager(proxy)
    return _manager(None)


@lru_cache
def _manager(proxy: str | None) -> "PoolManager":
    """A process's pool of connections, direct or through a proxy."""
    import urllib3

    return urllib3.ProxyManager(proxy, maxsize=16) if proxy else urllib3.PoolManager(maxsize=16)
