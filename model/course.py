"""The course of a run: which phase, which batch and which samples each step has. Numbers only, no torch.

A run is cut into segments of one phase and one batch size. Where a step stands follows from its number alone, so that a
resumed run, `sluice trace` and another world size all see the same: there is nothing to save beside the step.

Phases that read the same rows share a *stream*: the later goes on in the order where the earlier stopped, and no row
comes twice before all have come once. Other rows (another length, other data) are a stream of their own, whose order
has a seed of its own.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.batching import Int64, mix_bits
from model.job import Data, Job, Phase
from model.mixture import Mixture, drawn_rows

_NOT_ROWS = {"validation", "validation_rows", "token_bytes"}  # of `Data`: what says nothing about the rows learnt from


@dataclass(frozen=True)
class Segment:
    """Consecutive steps of one phase with one batch size."""

    phase: int
    stream: int
    first_step: int
    steps: int
    batch_size: int
    first_sample: int  # in its stream


@dataclass(frozen=True)
class Place:
    """Where a step stands: its samples are [first_sample, first_sample + batch_size) of its stream."""

    phase: int
    stream: int
    first_sample: int
    batch_size: int


@dataclass(frozen=True)
class Course:
    """All segments of a run, in order."""

    segments: tuple[Segment, ...]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.segments[-1].first_step + self.segments[-1].steps

    def at(self, step: int) -> Place:
        """Where `step` (from 0) stands. Raises `ValueError` outside of the run."""
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} is outside a run of {self.steps} steps")
        number = bisect.bisect_right(self.segments, step, key=lambda segment: segment.first_step) - 1
        segment = self.segments[number]
        first = segment.first_sample + (step - segment.first_step) * segment.batch_size
        return Place(segment.phase, segment.stream, first, segment.batch_size)

    def rows(self, step: int, source: int | Mixture, seed: int) -> Int64:
        """Rows of the step's global batch, of a stream of so many rows or of a mixture."""
        place = self.at(step)
        return drawn_rows(place.first_sample, place.batch_size, source, stream_seed(seed, place.stream))

    def samples_before(self, step: int) -> int:
        """Samples of all streams that the steps before `step` (from 0, at most all steps) draw."""
        return sum(
            min(max(step - segment.first_step, 0), segment.steps) * segment.batch_size for segment in self.segments
        )

    def samples_of(self, stream: int) -> int:
        """Samples that the whole run draws from a stream."""
        return sum(segment.steps * segment.batch_size for segment in self.segments if segment.stream == stream)


def stream_seed(seed: int, stream: int) -> int:
    """Seed of a stream's order; the first has the run's own."""
    if stream == 0:
        return seed
    mixed = mix_bits(mix_bits(np.array([seed], np.uint64)) + np.uint64(stream))
    return int(mixed[0])


def phases_of(job: Job) -> list[Phase]:
    """The job's phases, each with its data; a job without any is one."""
    found = job.phases or [Phase(name="main", steps=job.steps)]
    return [phase if phase.data is not None else phase.model_copy(update={"data": job.data}) for phase in found]


def streams_of(job: Job) -> tuple[list[Data], list[int]]:
    """(the different rows that are learnt from, which of them each phase reads)."""
    streams: list[Data] = []
    keys: list[dict[str, Any]] = []
    numbers = []
    for phase in phases_of(job):
        assert phase.data is not None
        key = phase.data.model_dump(exclude=_NOT_ROWS)
        if key not in keys:
            keys.append(key)
            streams.append(phase.data)
        numbers.append(keys.index(key))
    return streams, numbers


def course_of(job: Job) -> Course:
    """The course of a job."""
    streams, numbers = streams_of(job)
    return make_course(
        [(phase.steps, phase.batch_size) for phase in phases_of(job)],
        numbers,
        [streams[number].seq_len for number in numbers],
        job.batch_size,
        [(step.tokens, step.batch_size) for step in job.batch_ramp],
    )


def make_course(
    phases: Sequence[tuple[int, int | None]],
    streams: Sequence[int],
    seq_lens: Sequence[int],
    batch_size: int,
    ramp: Sequence[tuple[int, int]] = (),
) -> Course:
    """Cut phases into segments.

    Args:
        phases: (steps, batch size or None for the ramp's) of each.
        streams: which stream each phase reads.
        seq_lens: tokens of a row in each phase.
        batch_size: before the ramp's first step.
        ramp: (tokens of the run from which on, batch size), ascending. It counts the tokens of all phases.
    """
    segments: list[Segment] = []
    used = [0] * (max(streams) + 1)
    step = tokens = 0
    for phase, ((steps, own), stream, seq_len) in enumerate(zip(phases, streams, seq_lens, strict=True)):
        left = steps
        while left:
            size, until = ramped(batch_size, ramp, tokens) if own is None else (own, None)
            count = left if until is None else min(left, math.ceil((until - tokens) / (size * seq_len)))
            segments.append(Segment(phase, stream, step, count, size, used[stream]))
            used[stream] += count * size
            tokens += count * size * seq_len
            step, left = step + count, left - count
    return Course(tuple(segments))


def ramped(batch_size: int, ramp: Sequence[tuple[int, int]], tokens: int) -> tuple[int, int | None]:
    """(batch size after `tokens` tokens, tokens at which the next one begins or None)."""
    number = bisect.bisect_right(ramp, tokens, key=lambda one: one[0])
    size = ramp[number - 1][1] if number else batch_size
    return size, ramp[number][0] if number < len(ramp) else None


def tokens_in(steps: int, seq_len: int, batch_size: int, ramp: Sequence[tuple[int, int]] = (), start: int = 0) -> int:
    """Tokens that `steps` steps learn from, when `start` have been learnt from before."""
    at = start
    while steps:
        size, until = ramped(batch_size, ramp, at)
        count = steps if until is None else min(steps, math.ceil((until - at) / (size * seq_len)))
        at, steps = at + count * size * seq_len, steps - count
    return at - start


def steps_for(tokens: int, seq_len: int, batch_size: int, ramp: Sequence[tuple[int, int]] = (), start: int = 0) -> int:
    """Fewest steps that learn from at least `tokens` tokens, when `start` have been learnt from before."""
    goal, at, steps = start + tokens, start, 0
    while at < goal:
        size, until = ramped(batch_size, ramp, at)
        stop = goal if until is None else min(goal, until)
        count = math.ceil((stop - at) / (size * seq_len))
        at, steps = at + count * size * seq_len, steps + count
    return steps
