"""What a pretraining run shows, and when: its phases, the rows of each, and from a step to documents and back.

`pretrain` trains by it and `exposure` explains by it; that the training process draws the same follows from
`model/course.py` and `model/mixture.py`, which both use.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from infra.errors import BadConfig, BadInput
from model.course import Course, Segment, make_course, steps_for, stream_seed, tokens_in
from model.job import Phase
from model.mixture import drawn_rows
from tasks.row_order import RowOrder
from tasks.tokens.files import ANNEAL, Tokens, read_index
from tasks.tokens.rows import Reading, read_rows
from tasks.tokens.trace import Position, TracedDocument

if TYPE_CHECKING:
    from tasks.pretrain import PretrainParams

ROUNDING = 1e-9  # of a pass: a part of a row that counts for nothing
SAMPLES_AT_ONCE = 1 << 20  # of a long run, so that memory stays bounded


@dataclass(frozen=True)
class Shown:
    """The rows of a run. `readings`: what each phase reads; `streams`: the same by the numbers that the course has."""

    course: Course
    readings: tuple[Reading, ...]
    seed: int

    @cached_property
    def streams(self) -> tuple[Reading, ...]:
        """The different rows that are read, in the order of their numbers."""
        return tuple(dict.fromkeys(self.readings))

    def check(self) -> None:
        """Refuse a run that shows its text, or a domain of it, more often than it may.

        Text that earlier phases have shown counts, in rows of whatever length; its copies (split anneal) count by
        themselves.

        Raises:
            BadConfig: it does; the message says how many steps do not.
        """
        shown_before: dict[tuple[str, str], float] = defaultdict(float)  # by (split, domain), in passes
        for segment in self.course.segments:
            reading = self.readings[segment.phase]
            split = reading.files[0].split
            beyond: list[tuple[int, str, float]] = []  # (steps that keep to it, domain, passes before)
            for domain, passes in self._passes(segment, segment.steps).items():
                before = shown_before[split, domain]
                shown_before[split, domain] += passes
                if domain in reading.limits:
                    steps = self._steps_within(segment, domain, reading.limits[domain] - before + ROUNDING)
                    if steps < segment.steps:
                        beyond.append((steps, domain, before))
            if beyond:
                steps, domain, before = min(beyond)
                limit, steps = reading.limits[domain], segment.first_step + steps
                keeps = f"{steps:,} steps keep to that: train for no more" if steps else "train for fewer steps"
                if before > limit + ROUNDING:
                    keeps = f"{before:.4g} before this phase already: train for less before it"
                passes, last = shown_before[split, domain], segment.first_step + segment.steps
                raise BadConfig(
                    f"pretrain.max_epochs: by step {last:,} the {split} text of {domain} is shown {passes:.4g} times,"
                    f" and {limit:g} are allowed; {keeps}, or raise it"
                )

    def _passes(self, segment: Segment, steps: int) -> dict[str, float]:
        """How often the first steps of a segment show each domain."""
        first = segment.first_sample
        return self.readings[segment.phase].passes(first, first + steps * segment.batch_size)

    def _steps_within(self, segment: Segment, domain: str, room: float) -> int:
        """How many of a segment's steps show a domain at most so often."""
        return bisect_right(range(1, segment.steps + 1), room, key=lambda steps: self._passes(segment, steps)[domain])

    def position(self, step: int, row: int) -> Position:
        """Which tokens a row of a step's global batch was; both count from 0.

        Raises:
            BadInput: no such row.
        """
        place = self.course.at(step)
        if not 0 <= row < place.batch_size:
            # Whoever reads it counts steps from 1, as metrics.jsonl does.
            raise BadInput(f"step {step + 1}, row {row}: step {step + 1} has rows 0 to {place.batch_size - 1}")
        reading = self.streams[place.stream]
        return reading.position(int(self.course.rows(step, reading.source, self.seed)[row]))

    def rows_of(self, spans: Iterable[TracedDocument]) -> list[list[int]]:
        """The rows that predict a token of the spans, of each stream."""
        found: list[set[int]] = [set() for _ in self.streams]
        for span in spans:
            for rows, reading in zip(found, self.streams, strict=True):
                rows.update(reading.rows_of(span.file, span.token_start, span.token_end))
        return [sorted(rows) for rows in found]

    def steps_showing(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """The steps in which any of these rows of each stream was shown, once for each time, in order."""
        found: list[list[int]] = [[] for _ in self.streams]
        for segment in self.course.segments:
            source, wanted = self.streams[segment.stream].source, rows[segment.stream]
            total = segment.steps * segment.batch_size if wanted else 0
            seed = stream_seed(self.seed, segment.stream)
            for first in range(0, total, SAMPLES_AT_ONCE):
                count = min(SAMPLES_AT_ONCE, total - first)
                shown_rows = drawn_rows(segment.first_sample + first, count, source, seed)
                places = np.flatnonzero(np.isin(shown_rows, wanted)) + first
                found[segment.stream].extend((segment.first_step + places // segment.batch_size).tolist())
        return found


def shown(params: RowOrder, tokens: Tokens, steps: int) -> Shown:
    """What a run of so many steps shows; see `shown_of`.

    Raises:
        BadInput: see `read_rows`.
    """
    return shown_of(params, readings_of(params, tokens), steps)


def shown_of(params: RowOrder, readings: Sequence[Reading], steps: int) -> Shown:
    """What a run of so many steps shows, which reads these rows (`readings_of`). Phases say their steps themselves."""
    streams = list(dict.fromkeys(readings))
    stretches: list[tuple[int, int | None]] = [
        (length, phase.batch_size) for length, phase in zip(phase_steps(params), params.phases, strict=True)
    ]
    course = make_course(
        stretches or [(steps, None)],
        [streams.index(reading) for reading in readings],
        [reading.seq_len for reading in readings],
        params.batch_size,
        ramp_of(params),
    )
    return Shown(course, tuple(readings), params.seed)


def steps_of(params: "PretrainParams", n_rows: int) -> int:
    """Optimizer steps of a run over `n_rows` rows, which are its epoch where it is measured in epochs."""
    if params.phases:
        return sum(phase_steps(params))
    if params.steps is not None:
        return params.steps
    if params.tokens is not None:
        return max(1, steps_for(params.tokens, params.seq_len, params.batch_size, ramp_of(params)))
    wanted = math.ceil(params.epochs * n_rows * params.seq_len)
    steps = max(1, steps_for(wanted, params.seq_len, params.batch_size, ramp_of(params)))
    beyond = tokens_in(steps, params.seq_len, params.batch_size, ramp_of(params)) > wanted
    # Where epochs are limited, as many as the limit must be possible: the last batch would begin one more.
    return steps - 1 if beyond and params.max_epochs is not None and steps > 1 else steps


def ramp_of(params: RowOrder) -> list[tuple[int, int]]:
    """The batch ramp as `model.course` takes it."""
    return [(step.tokens, step.batch_size) for step in params.batch_ramp]


def readings_of(params: RowOrder, tokens: Tokens) -> list[Reading]:
    """What each phase learns from; one reading for a run without phases.

    Raises:
        BadInput: see `read_rows`.
    """
    if not params.phases:
        return [read_rows(tokens, params.seq_len, mixture=params.mixture, max_epochs=params.max_epochs)]
    readings: list[Reading] = []
    for phase, seq_len in zip(params.phases, params.seq_lens, strict=True):
        try:
            reading = read_rows(
                tokens,
                seq_len,
                split=phase.split,
                domains=phase.domains,
                mixture=params.mixture if phase.mixture is None else phase.mixture,
                inherited=phase.mixture is None,
                max_epochs=params.max_epochs if phase.max_epochs is None else phase.max_epochs,
                inherited_limits=phase.max_epochs is None,
            )
        except BadInput as error:
            raise BadInput(f"phase {phase.name}: {error}") from error
        readings.append(reading)
    return readings


def check_names(params: RowOrder, tokens: Tokens) -> None:
    """Domains that phases take over from the run must be there, though not in every phase.

    Raises:
        BadInput: one is not.
    """
    known = {file["domain"] for file in read_index(tokens)["files"] if file["split"] in ("train", ANNEAL)}
    for name in ("mixture", "max_epochs"):
        given = getattr(params, name)
        taken_over = isinstance(given, Mapping) and any(getattr(phase, name) is None for phase in params.phases)
        if taken_over and (unknown := sorted({*given} - known)):
            told = f"{name} names {unknown[0]!r}, of which {tokens.ref} holds no training text"
            raise BadInput(f"pretrain.{told}; it has {', '.join(sorted(known))}")


def phases_of(params: "PretrainParams", tokens: Tokens, readings: Sequence[Reading]) -> list[Phase]:
    """The phases for the job, each with the rows it reads (`readings_of`); none of a run without phases."""
    if not params.phases:
        return []
    return [
        Phase(
            name=phase.name,
            steps=steps,
            data=reading.data(tokens, document_mask=params.document_mask),
            batch_size=phase.batch_size,
            rope_theta=phase.rope_theta,
            rope_scaling=phase.rope_scaling,
            rate=phase.rate,
        )
        for phase, steps, reading in zip(params.phases, phase_steps(params), readings, strict=True)
    ]


def phase_steps(params: RowOrder) -> list[int]:
    """Optimizer steps of each phase."""
    found: list[int] = []
    learnt = 0
    for phase, seq_len in zip(params.phases, params.seq_lens, strict=False):
        size = phase.batch_size or params.batch_size
        ramp = ramp_of(params) if phase.batch_size is None else []
        found.append(phase.steps or steps_for(phase.tokens or 1, seq_len, size, ramp, learnt if ramp else 0))
        learnt += tokens_in(found[-1], seq_len, size, ramp, learnt)
    return found
