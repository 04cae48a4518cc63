"""What a run leaves to look at: `metrics.jsonl`, one JSON object a step, and the same numbers as TensorBoard events.

Rows are cut back to the checkpoint's step on resume, so the file reads as if the run had never been interrupted.
"""

import json
import os
from pathlib import Path
from typing import Any, Protocol


class EventWriter(Protocol):
    """What is used of torch's SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The complete rows of a metrics file; a torn last line (the writer was killed) is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]  # what follows the last newline is empty or torn


def cut(path: Path, step: int) -> int:
    """Keep the rows with `step` <= the given one; returns how many were dropped. The file is replaced in one rename."""
    rows = read_rows(path)
    kept = [row for row in rows if row["step"] <= step]
    if path.exists():
        partial = path.with_name(path.name + ".tmp")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in kept)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    return len(rows) - len(kept)


class MetricsLog:
    """Appends rows. `resume_step`: the step of the checkpoint that training continues from (0: from the start)."""

    def __init__(self, path: Path, tensorboard: Path | None, resume_step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        self._events: EventWriter | None = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step makes TensorBoard hide events of steps that are done again.
            self._events = SummaryWriter(str(tensorboard), purge_step=resume_step + 1)

    def write(self, row: dict[str, Any]) -> None:
        """One row; it must have `step`. It is whole in the file when this returns, so a reader may follow it."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Push everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._events is not None:
            self._events.close()
