"""Two answers to a question, one better: does a model rank it higher (choices), or higher than before (preferences)?

Choices are for base models, asked plainly (`Question: … Answer:`): which answer has the higher log-probability a byte
(lm-evaluation-harness's acc_bytes), and which does the question make more probable than it was by itself
(acc_mutual_info), at which small models are better. Guessing gives a half. Only pairs whose worse answer is another
answer count: of one that was broken off, or is said over and over, each byte may well be the more probable.

Direct preference optimisation has an implicit reward, beta * (log p(answer) - log p_reference(answer)) (Rafailov et
al., 2023, equation 5). A pair is won when the chosen answer's reward is the greater; beta scales both alike, so it is
left out here and margins are in nats.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infra.canonical import digest
from infra.errors import BadInput
from tasks.chat import Message
from tasks.chat_data.rejected import SPOILT
from tasks.evaluate.answers import plain_prompt
from tasks.evaluate.prediction import IGNORE_INDEX, LOGITS_AT_ONCE

if TYPE_CHECKING:
    from model.transformer import Transformer
    from tasks.encoding import Encoder

TASK_VERSION = 1  # part of the task hash; raised when rendering or scoring changes


@dataclass(frozen=True)
class Pair:
    """A prompt with the answer that was preferred and the one that was not."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    kind: str | None = None
    """In what way the worse one is worse, where the file says it (`tasks/chat_data/rejected.py`)."""

    @property
    def is_choice(self) -> bool:
        """Whether the worse answer is another answer, and not the right one spoilt."""
        return self.kind not in SPOILT


@dataclass(frozen=True)
class Rendered:
    """Ids of a conversation; the first `prompt_length` of them are given, the others are scored."""

    ids: list[int]
    prompt_length: int
    n_bytes: int = 0
    """UTF-8 bytes of the answer, where it is scored by the byte."""


def read_pairs(path: Path, limit: int) -> tuple[list[Pair], int]:
    """(evenly spaced pairs, how many there are) of a file with one JSON object a line.

    Raises:
        BadInput: a line lacks `prompt` (messages), `chosen` or `rejected` (texts, or lists of one message).
    """
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    n = min(limit, len(lines))
    return [_pair(path, i * len(lines) // n, lines[i * len(lines) // n]) for i in range(n)], len(lines)


def _pair(path: Path, number: int, line: str) -> Pair:
    try:
        row = json.loads(line)
        pair = Pair(tuple(row["prompt"]), _text(row["chosen"]), _text(row["rejected"]), row.get("kind"))
        if not pair.prompt:
            raise TypeError("empty prompt")
        return pair
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path.name}, line {number + 1}: needs a JSON object with `prompt` (messages), `chosen` and `rejected`"
            f" (texts or one message) ({type(error).__name__}: {error})"
        ) from error


def _text(answer: object) -> str:
    """An answer's text: written as it is, or as the list of its one message (the form of Hugging Face's TRL)."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]["content"]
    if not isinstance(answer, str):
        raise TypeError("an answer is a text or a list of one message")
    return answer


def sequences(encoder: "Encoder", pair: Pair) -> tuple[Rendered, Rendered]:
    """(chosen, rejected) as the model sees them: the prompt in ChatML, the answer, `<|im_end|>`."""
    prompt = encoder.render_chat(pair.prompt, add_generation_prompt=True)[0]
    chosen, rejected = (
        Rendered([*prompt, *encoder.encode(answer.strip()), encoder.im_end], len(prompt))
        for answer in (pair.chosen, pair.rejected)
    )
    return chosen, rejected


@dataclass(frozen=True)
class Choice:
    """The two answers of a pair for a model that knows no ChatML: after the question, and after `Answer:` alone."""

    asked: tuple[Rendered, Rendered]  # chosen, rejected
    alone: tuple[Rendered, Rendered]

    @property
    def longest(self) -> int:
        """Ids of its longest sequence."""
        return max(len(side.ids) for side in self.asked)


def choice(encoder: "Encoder", pair: Pair) -> Choice:
    """The pair as base models see it: answers without an end, which a base model would not write there."""
    answers = [f" {answer.strip()}" for answer in (pair.chosen, pair.rejected)]

    def after(prompt: list[int]) -> tuple[Rendered, Rendered]:
        chosen, rejected = (
            Rendered([*prompt, *encoder.encode(text)], len(prompt), len(text.encode())) for text in answers
        )
        return chosen, rejected

    return Choice(after(plain_prompt(encoder, pair.prompt)), after(plain_prompt(encoder, ())))


@dataclass(frozen=True)
class Chosen:
    """Of each choice, nats: log-probability a byte of the chosen and the rejected answer, and what the question adds.

    Both float64[n, 2].
    """

    a_byte: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]


def choose(model: "Transformer", given: Sequence[Choice], pad: int) -> Chosen:
    """Score both answers of each choice."""
    asked = [side for one in given for side in one.asked]
    alone = [side for one in given for side in one.alone]
    log_p = log_probabilities(model, asked, pad)
    gain = log_p - log_probabilities(model, alone, pad)
    return Chosen((log_p / np.array([side.n_bytes for side in asked])).reshape(-1, 2), gain.reshape(-1, 2))


def log_probabilities(model: "Transformer", given: Sequence[Rendered], pad: int) -> npt.NDArray[np.float64]:
    """Summed log-probability (nats) of each sequence's answer, float64[len(given)], in the order given.

    Sequences of like length are scored together; padding stands at the end, where causal attention never looks.
    """
    import torch

    device = model.lm_head.weight.device
    result = np.zeros(len(given))
    order = sorted(range(len(given)), key=lambda i: len(given[i].ids))
    start = 0
    with torch.inference_mode():
        while start < len(order):
            stop, width = _batch_end(given, order, start, model.config.vocab_size)
            members = order[start:stop]
            tokens = torch.full((len(members), width), pad)
            labels = torch.full((len(members), width), IGNORE_INDEX)
            for row, i in enumerate(members):
                ids = torch.tensor(given[i].ids)
                tokens[row, : len(ids) - 1] = ids[:-1]
                labels[row, given[i].prompt_length - 1 : len(ids) - 1] = ids[given[i].prompt_length :]
            nll = model(tokens.to(device), labels=labels.to(device), reduction="none")
            result[members] = -nll.double().sum(dim=1).cpu().numpy()
            start = stop
    return result


def _batch_end(given: Sequence[Rendered], order: Sequence[int], start: int, vocab_size: int) -> tuple[int, int]:
    """(end of the batch that begins at `start`, its width): as many sequences as LOGITS_AT_ONCE allows."""
    stop, width = start, 1
    while stop < len(order):
        wider = max(width, len(given[order[stop]].ids) - 1)
        if stop > start and (stop + 1 - start) * wider * vocab_size > LOGITS_AT_ONCE:
            break
        stop, width = stop + 1, wider
    return stop, width


def margins(
    model: "Transformer", reference: "Transformer", pairs: Sequence[tuple[Rendered, Rendered]], pad: int
) -> npt.NDArray[np.float64]:
    """Implicit reward of the chosen answer minus that of the rejected one, in nats, float64[len(pairs)]."""
    flat = [side for pair in pairs for side in pair]
    gain = log_probabilities(model, flat, pad) - log_probabilities(reference, flat, pad)
    return gain[0::2] - gain[1::2]


def task_hash(pairs: Sequence[tuple[Rendered, Rendered]], task: str = "preferences") -> str:
    """16 hex digits of the pairs (of choices: as they are asked) as they are scored."""
    return digest([task, TASK_VERSION, [[side.ids, side.prompt_length] for pair in pairs for side in pair]])
