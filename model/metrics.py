"""What a run leaves to look at: `metrics.jsonl`, one JSON object a step, and the same numbers as TensorBoard events and
as CSV files, both through DeepSpeed's monitor.

All are cut back to the checkpoint's step on resume, so they read as if the run had never been interrupted.
"""

import json
import math
import os
from pathlib import Path
from typing import Any


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

    def __init__(self, path: Path, tensorboard: Path | None, resume_step: int, csv: Path | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        self._monitor = _monitor(tensorboard, csv, resume_step)

    def write(self, row: dict[str, Any]) -> None:
        """One row; it must have `step`. It is whole in the file when this returns, so a reader may follow it.

        A number that is not finite, of a step that was left out, is written as null: JSON has no other word for it.
        """
        row = {name: None if _is_endless(value) else value for name, value in row.items()}
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()
        if self._monitor is not None:
            numbers = {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
            self._monitor.write_events([(name, value, row["step"]) for name, value in numbers.items()])

    def close(self) -> None:
        """Push everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._monitor is not None and self._monitor.tb_monitor is not None:
            self._monitor.tb_monitor.summary_writer.close()


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def cut_csv(folder: Path, step: int) -> list[str]:
    """Keep of each CSV file the rows up to `step`; returns the files' names without suffix."""
    for path in sorted(folder.glob("*.csv")):
        header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in rows if row.endswith("\n") and int(row.split(",", 1)[0]) <= step]
        partial = path.with_suffix(".tmp")
        partial.write_text(header + "".join(kept), encoding="utf-8")
        partial.replace(path)
    return sorted(path.stem for path in folder.glob("*.csv"))


def _monitor(tensorboard: Path | None, csv: Path | None, resume_step: int) -> Any:
    """DeepSpeed's MonitorMaster for these two folders; None when there is nothing to write."""
    if tensorboard is None and csv is None:
        return None
    from deepspeed.monitor.config import get_monitor_config
    from deepspeed.monitor.monitor import MonitorMaster

    def place(folder: Path | None) -> dict[str, Any]:
        if folder is None:
            return {"enabled": False}
        return {"enabled": True, "output_path": str(folder.parent), "job_name": folder.name}

    written = cut_csv(csv, resume_step) if csv is not None else []
    monitor = MonitorMaster(get_monitor_config({"tensorboard": place(tensorboard), "csv_monitor": place(csv)}))
    if monitor.csv_monitor is not None:
        monitor.csv_monitor.filenames = written  # it writes a header into files that it does not know
    if monitor.tb_monitor is not None and resume_step:
        from torch.utils.tensorboard import SummaryWriter

        # purge_step makes TensorBoard hide events of steps that are done again; DeepSpeed cannot say it.
        monitor.tb_monitor.summary_writer.close()
        monitor.tb_monitor.summary_writer = SummaryWriter(str(tensorboard), purge_step=resume_step + 1)
    return monitor
