"""What tests ask about processes that may end at any moment, also between two questions."""

import time
from collections.abc import Iterable

import psutil


def alive(pids: Iterable[int]) -> list[int]:
    """Those of `pids` that run; one that has ended and waits to be reaped (a zombie) does not."""
    return [pid for pid in pids if _is_running(pid)]


def gone_within(pids: Iterable[int], seconds: float) -> bool:
    """Whether all of `pids` end within so many seconds; returns as soon as they have."""
    waited_for = list(pids)
    deadline = time.monotonic() + seconds
    while waited_for := alive(waited_for):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
