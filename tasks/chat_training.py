"""From conversations to ids that training reads: what `sft` and `dpo` share.

A conversation is rendered by `tasks/chat.py` and written as two indexed files, the ids and a 0/1 for each id that says
whether the model is trained to write it. `model/data.py` packs them into rows.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from infra.errors import BadInput
from infra.store import Artifact
from model.indexed import MASK_SUFFIX, IndexedWriter, token_dtype
from tasks.chat import Message
from tasks.encoding import Encoder


class Chat(Artifact):
    """Role: conversations and preferences."""

    accepts = ("chat-data",)


@dataclass
class Account:
    """What became of the lines of one file."""

    n_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)  # inputs of each sequence written
    trained_tokens: int = 0

    @property
    def n_out(self) -> int:
        """Lines that were written."""
        return self.n_in - self.dropped.total()


Sequence = tuple[list[int], list[int]]  # ids, loss mask


def read_rows(chat: Artifact, name: str) -> Iterator[dict[str, Any]]:
    """The lines of one of a chat-data artifact's files; none when it has no such file."""
    if not chat.files(name):
        return
    with chat.file(name).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def write_conversations(chat: Artifact, name: str, encoder: Encoder, seq_len: int, prefix: Path) -> Account:
    """Render a file of conversations to `prefix`; one that does not fit a row is left out whole, not cut.

    A cut answer would teach that answers have no end.
    """
    account = Account()
    with _writers(prefix, encoder) as writers:
        for row in read_rows(chat, name):
            account.n_in += 1
            try:
                sequence = encoder.render_chat(row["messages"])
            except BadInput:
                account.dropped["not_rendered"] += 1
                continue
            reason = _why_not([sequence], seq_len)
            if reason:
                account.dropped[reason] += 1
            else:
                writers.add(sequence, account)
    return account


def write_preferences(
    chat: Artifact, name: str, encoder: Encoder, seq_len: int, prefix: Path, most: int | None = None
) -> Account:
    """Render a file of preferences: chosen and rejected of a pair one after the other; the mask covers the answer.

    Args:
        most: pairs to take, spread evenly over the file; None takes all.
    """
    account = Account()
    total = sum(1 for _ in read_rows(chat, name))
    with _writers(prefix, encoder) as writers:
        for number, row in enumerate(read_rows(chat, name)):
            account.n_in += 1
            if most is not None and not _is_among(number, most, total):
                account.dropped["beyond_pairs"] += 1
                continue
            try:
                pair = [render_answer(encoder, row["prompt"], row[side]) for side in ("chosen", "rejected")]
            except BadInput:
                account.dropped["not_rendered"] += 1
                continue
            reason = "same_answer" if pair[0][0] == pair[1][0] else _why_not(pair, seq_len)
            if reason:
                account.dropped[reason] += 1
                continue
            for sequence in pair:
                writers.add(sequence, account)
    return account


def render_answer(encoder: Encoder, prompt: list[Message], answer: str | list[Message]) -> Sequence:
    """Ids of prompt and answer, and a mask over what the model writes after the prompt.

    Raises:
        BadInput: a turn that cannot be rendered.
    """
    turns = [Message(role="assistant", content=answer)] if isinstance(answer, str) else answer
    begin = len(encoder.render_chat(prompt, add_generation_prompt=True)[0])
    ids, mask = encoder.render_chat([*prompt, *turns])
    return ids, [0] * begin + mask[begin:]


def _is_among(number: int, most: int, total: int) -> bool:
    """Whether item `number` of `total` is one of `most` that are spread evenly."""
    return (number + 1) * most // total > number * most // total


def _why_not(sequences: list[Sequence], seq_len: int) -> str | None:
    if any(len(ids) > seq_len + 1 for ids, _ in sequences):
        return "too_long"
    if any(not any(mask[1:]) for _, mask in sequences):
        return "no_answer"
    return None


class Writers:
    """The two files of a prefix, written side by side."""

    def __init__(self, ids: IndexedWriter, mask: IndexedWriter) -> None:
        self.ids, self.mask = ids, mask

    def add(self, sequence: Sequence, account: Account) -> None:
        """Append one sequence and enter it into the account."""
        ids, mask = sequence
        self.ids.add_document(ids)
        self.mask.add_document(mask)
        account.lengths.append(len(ids) - 1)
        account.trained_tokens += sum(mask[1:])


@contextmanager
def _writers(prefix: Path, encoder: Encoder) -> Iterator[Writers]:
    with (
        IndexedWriter(prefix, token_dtype(encoder.vocab_size)) as ids,
        IndexedWriter(f"{prefix}{MASK_SUFFIX}", np.uint8) as mask,
    ):
        yield Writers(ids, mask)
