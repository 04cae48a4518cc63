"""Asking a model the held-out questions and reading its answers.

A chat model is asked in ChatML and must close its turn itself. A base model has never seen ChatML, so asking it that
way alone would flatter the fine-tuned ones: it is also asked with a plain `Question: … Answer:` prompt, where the end
of the line (or of the document) ends the answer, and the better of the two ways counts as the base model's.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.canonical import digest
from infra.errors import BadInput
from tasks.chat import Message
from tasks.evaluate.form import form
from tasks.evaluate.rouge import rouge_l
from tasks.evaluate.statistics import Mean, mean

if TYPE_CHECKING:
    from tasks.encoding import Encoder

CHATML, PLAIN = "chatml", "plain"
STOP, LENGTH = "stop", "length"  # why a generation ended: the model ended it, or the limit did
# Part of every answer task's hash; raised when prompts, the reading of answers or a measure change.
TASK_VERSION = 2
METRICS = ("rouge_l", "exact_form", "ended")

# (prompts as ids, most new tokens, ids that end an answer) -> generated ids, with the ending id where there was one.
Generate = Callable[[Sequence[Sequence[int]], int, Collection[int]], list[list[int]]]


@dataclass(frozen=True)
class Question:
    """What is asked: the conversation up to the answer, and the answer that was written there."""

    number: int
    messages: tuple[Message, ...]
    reference: str

    @property
    def text(self) -> str:
        """The last thing that was asked."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Scored:
    """One answer with its measures."""

    answer: str
    finish_reason: str
    rouge_l: float
    exact_form: bool

    @property
    def ended(self) -> bool:
        """Whether the model ended the answer itself."""
        return self.finish_reason == STOP


def read_questions(path: Path, limit: int) -> tuple[list[Question], int]:
    """(evenly spaced questions, how many there are) of a file of conversations, one JSON object a line.

    The last assistant turn of a conversation is the reference, what comes before it the question.

    Raises:
        BadInput: a line holds no conversation with a question and an answer.
    """
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    n = min(limit, len(lines))
    chosen = [i * len(lines) // n for i in range(n)]
    return [_question(path, number, lines[number]) for number in chosen], len(lines)


def _question(path: Path, number: int, line: str) -> Question:
    try:
        messages = json.loads(line)["messages"]
        asked = next(i for i in range(len(messages) - 1, 0, -1) if messages[i]["role"] == "assistant")
        if messages[asked - 1]["role"] != "user":
            raise KeyError("user")
        return Question(number, tuple(messages[:asked]), messages[asked]["content"])
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise BadInput(
            f"{path.name}, line {number + 1}: needs a JSON object whose `messages` end with a user's question and an"
            f" assistant's answer ({type(error).__name__}: {error})"
        ) from error


def prompt_ids(encoder: "Encoder", question: Question, style: str) -> list[int]:
    """The ids a model is asked with."""
    if style == CHATML:
        return encoder.render_chat(question.messages, add_generation_prompt=True)[0]
    return plain_prompt(encoder, question.messages)


def plain_prompt(encoder: "Encoder", messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation as a base model may have met one: `Question: … Answer:`."""
    labels = {"system": "", "user": "Question: ", "assistant": "Answer: "}
    turns = "".join(f"{labels[m['role']]}{m['content'].strip()}\n" for m in messages)
    return [encoder.end_of_text, *encoder.encode(f"{turns}Answer:")]


def stop_ids(encoder: "Encoder", style: str) -> list[int]:
    """Ids that end an answer: of the plain prompt the document's end, in ChatML `<|im_end|>` too."""
    return [encoder.im_end, encoder.end_of_text] if style == CHATML else [encoder.end_of_text]


def read_answer(encoder: "Encoder", generated: Sequence[int], style: str) -> tuple[str, str]:
    """(text, finish reason) of generated ids.

    In ChatML only `<|im_end|>` is a proper end. With the plain prompt the answer is the first line that holds
    anything, and that line's end or the document's ends it.
    """
    last = generated[-1] if generated else None
    body = generated[:-1] if last in (encoder.im_end, encoder.end_of_text) else generated
    text = encoder.decode(body)
    if style == CHATML:
        return text.strip(), STOP if last == encoder.im_end else LENGTH
    line, newline, _ = text.lstrip().partition("\n")
    return line.strip(), STOP if newline or last == encoder.end_of_text else LENGTH


def ask(
    encoder: "Encoder", generate: Generate, questions: Sequence[Question], style: str, max_new_tokens: int
) -> list[Scored]:
    """A model's answers to the questions, measured against their references."""
    prompts = [prompt_ids(encoder, question, style) for question in questions]
    found = []
    for question, ids in zip(questions, generate(prompts, max_new_tokens, stop_ids(encoder, style)), strict=True):
        text, finish_reason = read_answer(encoder, ids, style)
        judged = form(text, finish_reason == STOP)
        found.append(Scored(text, finish_reason, rouge_l(question.reference, text), judged.exact))
    return found


def figures(answers: Sequence[Scored]) -> dict[str, Mean]:
    """Mean and standard error of each of METRICS."""
    return {name: mean(values_of(answers, name)) for name in METRICS}


def values_of(answers: Sequence[Scored], metric: str) -> list[float]:
    """One number an answer."""
    return [float(getattr(answer, metric)) for answer in answers]


def better_style(by_style: dict[str, list[Scored]]) -> str:
    """The way of asking with the higher mean ROUGE-L; ChatML when they are equal."""
    return max(by_style, key=lambda style: (figures(by_style[style])["rouge_l"].value, style == CHATML))


def task_hash(name: str, style: str, questions: Sequence[Question], max_new_tokens: int) -> str:
    """16 hex digits of what was asked and how, so that only scores of the same task are compared."""
    asked = hashlib.sha256()
    for question in questions:
        line = {"messages": list(question.messages), "reference": question.reference}
        asked.update(json.dumps(line, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest([TASK_VERSION, name, style, max_new_tokens, asked.hexdigest()])
