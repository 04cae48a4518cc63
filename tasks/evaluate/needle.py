"""A needle in a haystack: is a fact found again that stands somewhere in a long text? (Kamradt 2023; Hsieh et al. 2024,
"RULER", section 3.)

A trial is a text of a given length with one statement put into it at a given depth, and its beginning again at the end:
the model has found the needle when it completes it. Two measures:

    exact    the likeliest continuation, token by token, is the answer
    ranked   the answer is likelier than wrong ones; made for base models that are too small to be exact. With k wrong
             answers chance is 1 / (k + 1)

Results are shares of trials by length and depth, with Wilson's interval.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluate.models import greedy
from tasks.evaluate.preferences import Rendered, log_probabilities
from tasks.evaluate.statistics import Share, wilson

if TYPE_CHECKING:
    from model.transformer import Transformer


@dataclass(frozen=True)
class Needle:
    """A statement, as token ids: what is asked, the answer, and what may end it (a full stop)."""

    question: tuple[int, ...]
    answer: tuple[int, ...]
    end: tuple[int, ...] = ()

    @property
    def statement(self) -> tuple[int, ...]:
        """What is put into the text."""
        return (*self.question, *self.answer, *self.end)


@dataclass(frozen=True)
class Trial:
    """One question. `distance`: how many tokens before the one that is asked for the answer begins."""

    length: int
    depth: float
    distance: int
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    wrong: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Answered:
    """What a model made of a trial. `ranked` is None where there were no wrong answers."""

    exact: bool
    ranked: bool | None


@dataclass(frozen=True)
class Cell:
    """The trials of one length and depth."""

    length: int
    depth: float
    exact: Share
    ranked: Share | None


def make_trial(
    pieces: Sequence[Sequence[int]],
    needle: Needle,
    wrong: Sequence[Sequence[int]],
    length: int,
    depth: float,
    start_token: int,
) -> Trial:
    """Put a needle into a text.

    Args:
        pieces: the text, in pieces between which the needle may stand (sentences); as many are taken as fit.
        wrong: answers to rank the right one with.
        length: tokens of the prompt at most, start token and question included; fewer where the next piece is longer
            than what is left.
        depth: 0: the needle stands first; 1: right before the question.
        start_token: what stands before a text.

    Raises:
        ValueError: the needle does not fit, or the pieces do not fill the length.
    """
    room = length - 1 - len(needle.statement) - len(needle.question)
    if room < 0:
        raise ValueError(f"a needle of {len(needle.statement)} tokens does not fit into {length}")
    sizes = np.cumsum([len(piece) for piece in pieces])
    n = int(np.searchsorted(sizes, room, side="right"))
    if n == len(pieces) and (n == 0 or sizes[-1] < room):
        raise ValueError(f"{sizes[-1] if n else 0} tokens of text do not fill {room}")
    before = round(depth * n)
    text = [
        *[token for piece in pieces[:before] for token in piece],
        *needle.statement,
        *[token for piece in pieces[before:n] for token in piece],
        *needle.question,
    ]
    stated = sum(len(piece) for piece in pieces[:before]) + len(needle.question)
    return Trial(
        length=length,
        depth=depth,
        distance=len(text) - stated,
        prompt=(start_token, *text),
        answer=needle.answer,
        wrong=tuple(tuple(ids) for ids in wrong),
    )


def retrieve(model: "Transformer", trials: Sequence[Trial], pad: int) -> list[Answered]:
    """Put the trials to a model, which must take them as long as they are."""
    longest = max((len(trial.answer) for trial in trials), default=1)
    written = greedy(model)([trial.prompt for trial in trials], longest, ())
    sequences = [
        Rendered([*trial.prompt, *candidate], len(trial.prompt))
        for trial in trials
        for candidate in (trial.answer, *trial.wrong)
        if trial.wrong
    ]
    scores = iter(log_probabilities(model, sequences, pad).tolist())
    answered = []
    for trial, ids in zip(trials, written, strict=True):
        right = next(scores) if trial.wrong else 0.0
        others = [next(scores) for _ in trial.wrong]
        exact = tuple(ids[: len(trial.answer)]) == trial.answer
        answered.append(Answered(exact, right > max(others) if others else None))
    return answered


def cells(trials: Sequence[Trial], answered: Sequence[Answered]) -> list[Cell]:
    """Shares by length and depth, in their order."""
    groups: dict[tuple[int, float], list[Answered]] = defaultdict(list)
    for trial, one in zip(trials, answered, strict=True):
        groups[trial.length, trial.depth].append(one)
    found = []
    for (length, depth), members in sorted(groups.items()):
        ranked = [one.ranked for one in members if one.ranked is not None]
        found.append(
            Cell(
                length,
                depth,
                wilson(sum(one.exact for one in members), len(members)),
                wilson(sum(ranked), len(ranked)) if ranked else None,
            )
        )
    return found
