"""What the report page shows, as plain typed values: no store, no manifest, no HTML.

`collect.py` fills it from a lineage, `render.py` prints it. Text in it may come from the web and is not trusted.
"""

from dataclasses import dataclass, field

from tasks.report.charts import Series
from tasks.report.funnel import FunnelRow


@dataclass(frozen=True)
class Prediction:
    """Held-out bits per byte of one model or n-gram baseline, on the same tokens."""

    name: str
    ref: str | None
    bits_per_byte: float
    is_baseline: bool


@dataclass(frozen=True)
class Panel:
    """One chart of the training section."""

    title: str
    ref: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Quality:
    """How one model answered the held-out questions; every figure is (mean, standard error or None)."""

    name: str
    ref: str
    prompt: str
    counted: bool
    n: int
    rouge_l: tuple[float, float | None]
    exact_form: tuple[float, float | None]
    ended: tuple[float, float | None]


@dataclass(frozen=True)
class Change:
    """Paired difference of two models over the same questions, with its 95 % interval."""

    metric: str
    before: str
    after: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Preference:
    """Held-out preference pairs that a model ranks as they should be."""

    ref: str
    accuracy: float
    stderr: float | None
    margin: float
    n: int


@dataclass(frozen=True)
class Answer:
    """One model's answer in a sample."""

    name: str
    text: str
    rouge_l: float
    exact_form: bool
    finish_reason: str


@dataclass(frozen=True)
class Sample:
    """One held-out question with its reference and every model's answer."""

    question: str
    reference: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Tally:
    """A ranking: name and count, largest first; `rest` and `kinds` speak of what is not listed."""

    title: str
    unit: str
    rows: tuple[tuple[str, int], ...]
    total: int
    kinds: int
    note: str = ""


@dataclass(frozen=True)
class Node:
    """One artifact of the lineage, parents before children."""

    stage: str
    version: str
    parents: tuple[tuple[str, str], ...]
    ended: str
    seconds: float
    cpu_seconds: float
    bytes: int
    git_sha: str | None
    git_dirty: bool | None
    stage_version: int
    params: tuple[tuple[str, str], ...]
    command: str

    @property
    def ref(self) -> str:
        """`stage/version`."""
        return f"{self.stage}/{self.version}"


@dataclass(frozen=True)
class ReportData:
    """Everything on the page."""

    evaluation: str
    data_from: str | None
    data_until: str | None
    funnel: tuple[FunnelRow, ...]
    gaps: tuple[str, ...] = ()
    heldout: str = ""
    prediction: tuple[Prediction, ...] = ()
    panels: tuple[Panel, ...] = ()
    quality: tuple[Quality, ...] = ()
    reference_exact_form: float | None = None
    changes: tuple[Change, ...] = ()
    preferences: tuple[Preference, ...] = ()
    samples: tuple[Sample, ...] = ()
    n_questions: int = 0
    tallies: tuple[Tally, ...] = ()
    nodes: tuple[Node, ...] = ()
    parameters: int | None = None
    tokens_seen: int | None = None
    machine: tuple[tuple[str, str], ...] = field(default=())
    command: str = ""
