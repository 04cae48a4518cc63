"""Running the models: what one model is put through, and several of them side by side.

A small network gains nothing from a second thread, and with the machine shared it loses much: OpenMP's threads spin
while they wait for each other. So models are measured next to one another, each with its share of the cores. On a
machine with a GPU they take turns on it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tasks.evaluate import preferences
from tasks.evaluate.answers import CHATML, PLAIN, Question, Scored, ask
from tasks.evaluate.models import greedy, load
from tasks.evaluate.prediction import HeldOut, token_bits
from tasks.training import Model

if TYPE_CHECKING:
    from tasks.encoding import Encoder

BASES, DPO = ("pretrain", "imported-model"), "dpo"  # an imported model may be either: the better way of asking counts
Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Work:
    """What every model is put through. `pairs` are for models tuned on preferences, `choices` for base models."""

    encoder: "Encoder"
    heldout: HeldOut | None
    questions: list[Question]
    pairs: list[tuple[preferences.Rendered, preferences.Rendered]]
    choices: list[preferences.Choice]
    max_new_tokens: int
    context: int


@dataclass(frozen=True)
class Measured:
    """What came of it: -log2 p of each held-out token, answers by way of asking, margins of the pairs in nats."""

    parameters: int
    bits: npt.NDArray[np.float64] | None = None
    answers: dict[str, list[Scored]] = field(default_factory=dict)
    margins: npt.NDArray[np.float64] | None = None
    chosen: preferences.Chosen | None = None


def measure_all(models: Sequence[Model], work: Work, cores: int, progress: Progress) -> list[Measured]:
    """Measure every model; results in the order given. `cores` bounds the threads of all of them together."""
    import torch

    side_by_side = 1 if torch.cuda.is_available() else min(cores, len(models))
    threads = max(1, cores // side_by_side)
    before = torch.get_num_threads()

    def one(model: Model) -> Measured:
        torch.set_num_threads(threads)  # the setting is the thread's own
        return measure(model, work, go_on)

    failed = Event()

    def go_on() -> None:
        if failed.is_set():
            raise CancelledError

    try:
        with ThreadPoolExecutor(side_by_side) as pool:
            running = [pool.submit(one, model) for model in models]
            try:
                for done, finished in enumerate(as_completed(running), start=1):
                    finished.result()
                    progress(done, len(models), f"measured {done} of {len(models)} models")
            except BaseException:  # told at once: the others end with the task that they are at
                failed.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in running]
    finally:
        torch.set_num_threads(before)


def measure(model: Model, work: Work, go_on: Callable[[], None]) -> Measured:
    """Put one model through everything. `go_on` is called before each task and raises when it is not to be done."""
    network = load(model)
    go_on()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    bits = None
    if work.heldout is not None:
        bits = token_bits(network, work.heldout, work.encoder.end_of_text, work.context)
    answers = {}
    if work.questions:
        generate = greedy(network)
        for style in (CHATML, PLAIN) if model.stage in BASES else (CHATML,):
            go_on()
            answers[style] = ask(work.encoder, generate, work.questions, style, work.max_new_tokens)
    margins = None
    go_on()
    if model.stage == DPO and work.pairs:
        reference = load(Model(model.store, model.parent("model").manifest))
        margins = preferences.margins(network, reference, work.pairs, work.encoder.pad)
    chosen = None
    if model.stage in BASES and work.choices:
        chosen = preferences.choose(network, work.choices, work.encoder.pad)
    return Measured(parameters, bits, answers, margins, chosen)
