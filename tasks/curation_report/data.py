"""What the curation page shows, as plain typed values. Text in it comes from the web and is not trusted."""

from dataclasses import dataclass

from tasks.curation_report.histogram import Axis
from tasks.report.funnel import FunnelRow


@dataclass(frozen=True)
class Threshold:
    """A rule as it stands on its signal's axis: documents with `signal comparison value` are rejected."""

    rule: str
    comparison: str
    value: float
    rejected: int
    """Documents that it was the first rule to reject."""
    source: str = ""


@dataclass(frozen=True)
class Histogram:
    """The documents along one signal.

    Attributes:
        passed, here, elsewhere: documents a bin: no rule rejected them; a rule on this signal did; a rule on another.
        nulls: documents for which the signal is null.
    """

    signal: str
    axis: Axis
    passed: tuple[int, ...]
    here: tuple[int, ...]
    elsewhere: tuple[int, ...]
    nulls: int
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One page, chosen by a hash of its identity and by nothing else."""

    url: str
    doc_id: str
    excerpt: str
    verdict: str
    """`fineweb_duplicate_lines: duplicate_line_char_fraction is 0.31 (> 0.01)`; empty for a kept page."""


@dataclass(frozen=True)
class SampleGroup:
    """Pages that left for one reason at one stage, or those that stayed."""

    stage: str
    reason: str
    documents: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Share:
    """One site, language or domain: how many of its measured documents are left."""

    name: str
    measured: int
    kept: int


@dataclass(frozen=True)
class Breakdown:
    """The largest of a kind, by measured documents."""

    title: str
    rows: tuple[Share, ...]
    kinds: int


@dataclass(frozen=True)
class CurationData:
    """Everything on the page."""

    ref: str
    measured: int
    kept: int
    funnel: tuple[FunnelRow, ...]
    gaps: tuple[str, ...]
    ruled: tuple[Histogram, ...]
    """Signals that a rule looks at, in the order of the rules."""
    unruled: tuple[Histogram, ...]
    breakdowns: tuple[Breakdown, ...]
    kept_samples: SampleGroup
    rejected_samples: tuple[SampleGroup, ...]
    silent_rules: tuple[str, ...]
    command: str
