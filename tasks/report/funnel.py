"""The account of a run: what each stage took in, used, dropped and why, and gave out.

Pure functions over manifests; the report page shows the rows, and the flows show them in Prefect as Markdown or as
a table artifact.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from infra.store.manifest import Manifest


@dataclass(frozen=True)
class FunnelRow:
    """One stage's account. `dropped` has the largest reason first."""

    stage: str
    version: str
    unit_in: str
    n_in: int
    used: int
    dropped: tuple[tuple[str, int], ...]
    unit_out: str
    n_out: int

    @property
    def ref(self) -> str:
        """`stage/version`."""
        return f"{self.stage}/{self.version}"

    @property
    def n_dropped(self) -> int:
        """All that was dropped, whatever the reason."""
        return sum(n for _, n in self.dropped)

    @property
    def adds_up(self) -> bool:
        """Whether in = used + dropped."""
        return self.n_in == self.used + self.n_dropped


def funnel_rows(manifests: Iterable[Manifest]) -> list[FunnelRow]:
    """One row a manifest, in the order given."""
    rows = []
    for manifest in manifests:
        counts = manifest.counts
        dropped = sorted(counts.dropped.items(), key=lambda item: (-item[1], item[0]))
        rows.append(
            FunnelRow(
                manifest.stage,
                manifest.version,
                counts.in_.unit,
                counts.in_.n,
                counts.used,
                tuple((reason, n) for reason, n in dropped if n),
                counts.out.unit,
                counts.out.n,
            )
        )
    return rows


def gaps(manifests: Iterable[Manifest]) -> list[str]:
    """Where the chain leaks: a stage that took in another number than its only parent gave out, in one sentence each.

    Only pairs that speak of the same unit are compared.
    """
    by_ref = {manifest.ref: manifest for manifest in manifests}
    found = []
    for manifest in by_ref.values():
        refs = manifest.parent_refs()
        parent = by_ref.get(refs[0]) if len(refs) == 1 else None
        if parent is None or parent.counts.out.unit != manifest.counts.in_.unit:
            continue
        if parent.counts.out.n != manifest.counts.in_.n:
            found.append(
                f"{manifest.ref} took in {counted(manifest.counts.in_.n, manifest.counts.in_.unit)}, "
                f"but {parent.ref} gave out {parent.counts.out.n:,}"
            )
    return found


def funnel_table(manifests: Iterable[Manifest]) -> list[dict[str, str | int]]:
    """Rows for a Prefect table artifact."""
    return [
        {
            "stage": row.stage,
            "in": row.n_in,
            "used": row.used,
            "dropped": row.n_dropped,
            "reasons": _reasons(row),
            "out": row.n_out,
            "unit": row.unit_out,
            "version": row.version,
        }
        for row in funnel_rows(manifests)
    ]


def funnel_markdown(manifests: Iterable[Manifest]) -> str:
    """The account as a Markdown table (GitHub flavour), one line a stage, then a line for each gap."""
    manifests = list(manifests)
    lines = ["| stage | in | used | dropped | out | reasons |", "|---|--:|--:|--:|--:|---|"]
    for row in funnel_rows(manifests):
        cells = [
            f"`{_cell(row.ref)}`",
            _cell(counted(row.n_in, row.unit_in)),
            f"{row.used:,}",
            f"{row.n_dropped:,}",
            _cell(counted(row.n_out, row.unit_out)),
            _cell(_reasons(row)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if not row.adds_up:
            lines.append(f"\n**{_cell(row.ref)} does not add up.**\n")
    lines += [f"\n**{_cell(gap)}**" for gap in gaps(manifests)]
    return "\n".join(lines) + "\n"


def counted(n: int, unit: str) -> str:
    """A number with its unit, `1 page` or `3 pages`, whichever of the two a stage names its unit."""
    if n == 1:
        return f"1 {unit.removesuffix('s')}"
    return f"{n:,} {unit}" if unit.endswith("s") else f"{n:,} {plural(unit)}"


def plural(unit: str) -> str:
    """The plural of a unit's English name."""
    if unit.endswith("s"):
        return unit
    return unit[:-1] + "ies" if unit.endswith("y") else unit + "s"


def _reasons(row: FunnelRow) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in row.dropped)


def _cell(text: str) -> str:
    """Text that cannot end its Markdown cell or begin an HTML tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
