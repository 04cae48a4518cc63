"""Two tiny stages for the tests of the runner: `numbers` from files, `doubled` along it, `total` over all of it."""

from pathlib import Path

import pyarrow as pa

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Part, PartSource, Source, stage
from infra.store import Artifact

NUMBERS = pa.schema([("n", pa.int64())])


class NumbersParams(Params):
    limit: int = 100
    trace: str | None = None  # a folder where each computed part leaves a mark


@stage("numbers", version=1, tables={"numbers": NUMBERS})
def numbers(files: Source, params: NumbersParams, out: Draft) -> None:
    """One part a file: the integers on its lines; those above the limit are dropped."""
    over = [PartSource(f.name, f.path, f.sha256, 0, f.bytes) for f in files.files]
    out.map_parts(read_numbers, over=over)


def read_numbers(part: Part) -> None:
    lines = Path(part.source.path).read_text().split()
    if "bad" in lines:
        raise BadInput(f"{part.source.name}: line {lines.index('bad') + 1} is no number; mend the file")
    if "defect" in lines:
        raise ZeroDivisionError("a defect of ours")
    if part.params.trace:
        (Path(part.params.trace) / part.source.name).touch()
    kept = [int(line) for line in lines if int(line) <= part.params.limit]
    part.write("numbers", pa.table({"n": pa.array(kept, pa.int64())}))
    part.count("numbers", len(lines), dropped={"too_large": len(lines) - len(kept)}, out=len(kept))
    part.metric("sum", sum(kept))


class DoubledParams(Params):
    factor: int = 2


@stage("doubled", version=1, tables={"numbers": NUMBERS}, one_to_one=True)
def doubled(numbers: Artifact, params: DoubledParams, out: Draft) -> None:
    out.map_parts(double, along=numbers)


def double(part: Part) -> None:
    table = part.parent("numbers").read_part("numbers", part.index)
    values = [n * part.params.factor for n in table.column("n").to_pylist()]
    part.write("numbers", pa.table({"n": pa.array(values, pa.int64())}))
    part.count("numbers", table.num_rows, out=len(values))


@stage("below_top", version=1, tables={"numbers": NUMBERS}, one_to_one=True)
def below_top(numbers: Artifact, params: DoubledParams, out: Draft) -> None:
    """Each number's distance from the largest of the whole corpus."""
    top = max(numbers.read_table("numbers").column("n").to_pylist())
    out.map_parts(subtract_from_top, along=numbers, given={"top": top})


def subtract_from_top(part: Part) -> None:
    table = part.parent("numbers").read_part("numbers", part.index)
    values = [part.given["top"] - n for n in table.column("n").to_pylist()]
    part.write("numbers", pa.table({"n": pa.array(values, pa.int64())}))
    part.count("numbers", table.num_rows, out=len(values))


class TotalParams(Params):
    lose: int = 0  # numbers to leave out of the account: a stage that lies
    stamp: str | None = None  # bytes that are not in the key, from a file: a stage that is not reproducible


@stage("total", version=1)
def total(numbers: list[Artifact], params: TotalParams, out: Draft) -> None:
    values = [n for parent in numbers for n in parent.read_table("numbers").column("n").to_pylist()]
    stamp = Path(params.stamp).read_text() if params.stamp else ""
    out.path("total.txt").write_text(f"{sum(values)}{stamp}")
    out.metrics["total"] = sum(values)
    out.count("numbers", len(values), used=len(values) - params.lose, out=1, out_unit="totals")
