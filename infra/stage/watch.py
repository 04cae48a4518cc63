"""Watching a stage's parts while Spark works on them: a thread of the driver that says how far they are."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.stage.part import marker_path, read_marker
from infra.stage.progress import Pace, read_progress
from infra.store.manifest import Counts

WATCH_SECONDS = 2.0


@contextmanager
def repeating(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` every two seconds, in a thread of its own and in the caller's context, while the block runs."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(WATCH_SECONDS):
            act()

    ours = contextvars.copy_context()  # the reporter asks it which Prefect task this is
    thread = threading.Thread(target=ours.run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


@contextmanager
def watching_parts(
    staging: Path, todo: Sequence[int], total: int, tell: Callable[[float, float, str], None]
) -> Iterator[None]:
    """Call `tell(parts done, parts in all, text)` every two seconds while the block runs.

    Args:
        todo: indices of the parts that are being made; the rest of `total` existed before.
    """
    began = time.monotonic()
    counted: dict[int, Counts] = {}

    def look() -> None:
        pace = _pace(staging, todo, total, counted, time.monotonic() - began)
        tell(pace.parts_before + pace.made, total, pace.line())

    with repeating(look):
        yield


def _pace(staging: Path, todo: Sequence[int], total: int, counted: dict[int, Counts], seconds: float) -> Pace:
    """The state now; remembers in `counted` the accounts of finished parts, so that each marker is read once."""
    for index in todo:
        marker = marker_path(staging, index)
        if index not in counted and marker.exists():
            counts = read_marker(marker)[0].counts
            assert counts is not None  # `Part.finish` refuses a part without
            counted[index] = counts
    return Pace(
        unit=next((counts.in_.unit for counts in counted.values()), "records"),
        parts_before=total - len(todo),
        parts_todo=len(todo),
        parts_done=len(counted),
        records_done=sum(counts.in_.n for counts in counted.values()),
        running=tuple(read_progress(staging / "tmp")),
        seconds=seconds,
    )
