"""How a remote server is asked: how often, how patiently, under which name; and what went wrong when it is in vain.

A request that fails in passing (429, 5xx, a cut or silent connection, a short body) is made again after a random wait
whose bound doubles ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog 2015), so that
many workers do not come back at once. Half of the first delay is waited in any case: Common Crawl asks for no more than
one retry a second (status.commoncrawl.org). The waits change nothing that is written.
"""

import logging
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version

from infra.errors import BadInput, SluiceError
from infra.remote.address import shown

RETRY_AFTER_LIMIT = 600.0  # seconds; a server that wants longer is asked again then
WORTH_SAYING = 3  # failures in a row; one or two are everyday
PROGRESS_BYTES = 1 << 16  # received since the last failure: the server works, if haltingly, and the count starts anew

log = logging.getLogger("sluice.remote")
_dice = random.SystemRandom()


@dataclass(frozen=True)
class Access:
    """How remote files are read. None of it changes what is read."""

    attempts: int = 10
    """Requests in a row that may fail before the run gives up; with the delays below, after about three minutes."""
    first_delay: float = 2.0
    """Seconds: the bound of the first random wait; it doubles with every failure."""
    max_delay: float = 60.0
    """Seconds: the largest bound of a random wait."""
    timeout: float = 60.0
    """Seconds without a byte after which a connection counts as dead."""
    s3_endpoint: str | None = None
    """Another server that speaks S3; None: AWS, or what AWS_ENDPOINT_URL says where the request is made."""

    def delay(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row; what the server asks for (Retry-After) comes on top."""
        bound = min(self.max_delay, self.first_delay * 2 ** (failures - 1))
        asked = min(retry_after or 0.0, RETRY_AFTER_LIMIT)
        return asked + min(self.first_delay, self.max_delay) / 2 + _dice.uniform(0, bound)


class Unreachable(SluiceError):
    """A server did not give what it has, however often it was asked."""


class Changed(BadInput):
    """A remote file is not the one that it was when the run began."""


class Transient(Exception):
    """One request failed in a way that the next one may not."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass
class Patience:
    """Counts the failures of one piece of work and waits between them."""

    access: Access
    url: str
    failures: int = 0
    _began: float = field(default_factory=time.monotonic)

    def wait(self, error: Transient, received: int = 0) -> None:
        """After a failure: sleep, or give up.

        Args:
            received: bytes that came since the last failure.

        Raises:
            Unreachable: that was the last attempt.
        """
        self.failures = 1 if received >= PROGRESS_BYTES else self.failures + 1
        if self.failures >= self.access.attempts:
            waited = time.monotonic() - self._began
            raise Unreachable(
                f"{shown(self.url)}: {error}; {self.failures} attempts within {waited:.0f} s were in vain. Finished"
                " parts are kept: run the same command again when the server is well, or raise crawl.attempts"
            ) from error
        delay = self.access.delay(self.failures, error.retry_after)
        if self.failures >= WORTH_SAYING:
            log.warning("%s: %s; asked %d times, again in %.0f s", shown(self.url), error, self.failures, delay)
        time.sleep(delay)


def refusal(url: str, status: int, start: int = 0) -> SluiceError | None:
    """What a status means that no further attempt would change; None: it may pass, or is no error."""
    where = shown(url)
    if status in (404, 410):
        return BadInput(f"{where}: there is no such file (the server answered {status}); check its address")
    if status in (401, 403):
        needs = (
            "; s3://commoncrawl/ wants AWS credentials in the environment, https://data.commoncrawl.org/ does not"
            if url.startswith("s3://commoncrawl/")
            else "; check the address, the credentials and whether the server limits how often it is asked"
        )
        return BadInput(f"{where}: the server refuses it ({status}){needs}")
    if status == 416 and start == 0:
        return BadInput(f"{where}: the file is empty; leave it out")
    if status in (412, 416):
        return Changed(f"{where}: the file changed since it was first looked at; {CHANGED_ADVICE}")
    if status in (408, 425, 429) or status >= 500:
        return None
    if status >= 400:
        return BadInput(f"{where}: the server refuses the request ({status}); check the address")
    return None


CHANGED_ADVICE = "run the same command again to read the new one, from its start"


def seconds_of(retry_after: str | None) -> float | None:
    """A Retry-After header (RFC 9110, 10.2.3) in seconds from now; None when it is absent or unreadable."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def user_agent() -> str:
    """Who asks, for the server's log."""
    try:
        return f"Sluice/{version('sluice')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "Sluice"
