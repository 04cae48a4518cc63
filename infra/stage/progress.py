"""How far the parts of a narrow stage are: told by the workers through small files, put into one line by the driver.

Only for the eyes: nothing here decides anything, and a worker that says nothing is merely not seen before it ends.
"""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from infra.quantities import duration

PROGRESS_FILE = "progress.json"  # in the temporary folder of a part that is being made
TELL_SECONDS = 1.0


@dataclass(frozen=True)
class PartProgress:
    """How far one part is: `fraction` of its work in [0, 1], `records` of its input looked at."""

    fraction: float
    records: int


class ProgressFile:
    """The worker's side: `tell` as often as is convenient, it is written once a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = time.monotonic()

    def tell(self, fraction: float, records: int) -> None:
        """Leave word of how far this part is."""
        now = time.monotonic()
        if now - self._told < TELL_SECONDS:
            return
        self._told = now
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{PROGRESS_FILE}.tmp"
        temporary.write_text(json.dumps({"fraction": fraction, "records": records}), encoding="utf-8")
        temporary.replace(self._folder / PROGRESS_FILE)


def read_progress(staging_tmp: Path) -> list[PartProgress]:
    """The driver's side: the parts that are being made and have said something."""
    found = []
    for path in staging_tmp.glob(f"*/{PROGRESS_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # the part has just ended and taken its folder along
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(PartProgress(float(content["fraction"]), int(content["records"])))
    return found


@dataclass(frozen=True)
class Pace:
    """The state of a stage's parts, `seconds` after the work on `parts_todo` of them began.

    Attributes:
        unit: what the parts count.
        parts_before: parts that existed already.
        parts_done: parts made since.
        records_done: records of these.
        running: the parts being made.
    """

    unit: str
    parts_before: int
    parts_todo: int
    parts_done: int
    records_done: int
    running: tuple[PartProgress, ...]
    seconds: float

    @property
    def total(self) -> int:
        """All parts of the stage."""
        return self.parts_before + self.parts_todo

    @property
    def made(self) -> float:
        """Parts' worth of work done since the beginning."""
        return self.parts_done + sum(part.fraction for part in self.running)

    @property
    def records(self) -> int:
        """Records looked at since the beginning."""
        return self.records_done + sum(part.records for part in self.running)

    def line(self) -> str:
        """`3 of 7 parts, 12,345 responses, 81 responses/s, about 2 min 10 s left`."""
        pieces = [f"{self.parts_before + self.parts_done} of {self.total} parts"]
        if self.records and self.seconds > 0:
            rate = self.records / self.seconds
            pieces += [f"{self.records:,} {self.unit}", f"{rate:,.0f} {self.unit}/s"]
        if self.made > 0:
            pieces.append(f"about {duration(self.seconds * (self.parts_todo - self.made) / self.made)} left")
        return ", ".join(pieces)
