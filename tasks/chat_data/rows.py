"""The rows of chat data: conversations and preferences, one JSON object a line, ours and a user's alike.

    {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}], "doc_id", "split", "kind"}
    {"prompt": [messages], "chosen": [one assistant message], "rejected": [one assistant message], "doc_id", "kind"}

A user's file needs `messages`, or `prompt`, `chosen` and `rejected`, and may have the rest; a text stands for one
message there. A line that is neither is counted with its reason and left out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.errors import BadInput
from infra.split import SPLITS, Split, SplitParams, split_of
from tasks.chat import ROLES, Message

MAX_LINE_BYTES = 16 << 20  # a longer line is not a conversation; it is skipped without being held in memory
GIVEN = "given"  # the kind of a row of a user's file that names none


@dataclass(frozen=True)
class Conversation:
    """Turns that end with an answer."""

    messages: tuple[Message, ...]
    doc_id: str
    split: Split
    kind: str

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What comes before the last answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last thing that was asked."""
        return self.messages[-2]["content"]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[-1]["content"]

    def to_json(self) -> str:
        """One line of train.jsonl, without its end."""
        fields = {"messages": list(self.messages), "doc_id": self.doc_id, "split": self.split, "kind": self.kind}
        return _line(fields)


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt, the better one first. `kind` says how the worse one is worse."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    doc_id: str
    split: Split
    kind: str

    def to_json(self) -> str:
        """One line of preferences-train.jsonl, without its end."""
        fields = {
            "prompt": list(self.prompt),
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
            "doc_id": self.doc_id,
            "split": self.split,
            "kind": self.kind,
        }
        return _line(fields)


class BadRowError(ValueError):
    """A line that holds no row; the message is the reason it is counted under."""


def parse_row(line: bytes, doc_id: str, split: SplitParams) -> Conversation | Preference:
    """The row of one line.

    Args:
        line: UTF-8 JSON.
        doc_id: for a row that brings none.
        split: decides the side of a row that names none, by a hash of what is asked first.

    Raises:
        BadRowError: `not_json`, `not_a_row`, `bad_message` (role or content), `bad_doc_id`, `bad_kind` (no text that
            UTF-8 can hold) or `no_answer`.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRowError("not_json") from None
    if not isinstance(row, dict):
        raise BadRowError("not_a_row")
    given = row.get("doc_id")
    doc_id = str(given) if isinstance(given, str | int) else doc_id
    kind = row["kind"] if isinstance(row.get("kind"), str) else GIVEN
    for name, value in (("doc_id", doc_id), ("kind", kind)):
        if not _is_utf8(value):
            raise BadRowError(f"bad_{name}")
    if "messages" in row:
        messages = _messages(row["messages"])
        if len(messages) < 2 or messages[-1]["role"] != "assistant" or messages[-2]["role"] != "user":
            raise BadRowError("no_answer")
        return Conversation(messages, doc_id, _split(row, messages, split), kind)
    if all(name in row for name in ("prompt", "chosen", "rejected")):
        prompt = _messages(row["prompt"], "user")
        if not prompt or prompt[-1]["role"] != "user":
            raise BadRowError("no_answer")
        chosen, rejected = (_one_answer(row[name]) for name in ("chosen", "rejected"))
        return Preference(prompt, chosen, rejected, doc_id, _split(row, prompt, split), kind)
    raise BadRowError("not_a_row")


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(line number from 1, line) of a file, unpacked by its suffix (.gz, .bz2, .zst); None for a line that is too long.

    Raises:
        BadInput: the file cannot be read to its end.
    """
    number = 0
    try:
        with pa.input_stream(str(path), compression="detect") as packed, pa.PythonFile(packed, mode="r") as stream:
            for number, line in enumerate(_split_lines(stream), start=1):
                if line is None or line.strip():
                    yield number, line
    except OSError as error:
        raise BadInput(f"{path}: cannot be read beyond line {number}: {error}") from error


def read_conversations(path: Path) -> list[Conversation]:
    """A file of conversations as the stage wrote it: train.jsonl, validation.jsonl or test.jsonl.

    Raises:
        BadInput: a line is not one.
    """
    return [row for row in _read(path) if isinstance(row, Conversation)]


def read_preferences(path: Path) -> list[Preference]:
    """A file of preferences as the stage wrote it.

    Raises:
        BadInput: a line is not one.
    """
    return [row for row in _read(path) if isinstance(row, Preference)]


def _line(fields: dict[str, Any]) -> str:
    """One line of JSON. Signs that Unicode counts as line ends are escaped, for readers that split by `splitlines`."""
    text = json.dumps(fields, ensure_ascii=False)
    for sign in ("\x85", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _read(path: Path) -> Iterator[Conversation | Preference]:
    for number, line in read_lines(path):
        try:
            if line is None:
                raise BadRowError("too_long")
            yield parse_row(line, f"{path.name}:{number}", SplitParams())
        except BadRowError as error:
            raise BadInput(f"{path}, line {number}: no conversation and no preference ({error})") from None


def _split_lines(stream: Any) -> Iterator[bytes | None]:
    """Lines of a binary stream, read in blocks; None for each that is longer than MAX_LINE_BYTES."""
    rest, skipping = b"", False
    while block := stream.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > MAX_LINE_BYTES else line
            skipping = False
        if len(rest) > MAX_LINE_BYTES:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest


def _messages(value: Any, role_of_text: str = "") -> tuple[Message, ...]:
    if isinstance(value, str) and role_of_text:
        value = [{"role": role_of_text, "content": value}]
    if not isinstance(value, list):
        raise BadRowError("bad_message")
    return tuple(_message(entry) for entry in value)


def _message(entry: Any) -> Message:
    if not isinstance(entry, dict) or entry.get("role") not in ROLES or not isinstance(entry.get("content"), str):
        raise BadRowError("bad_message")
    content = entry["content"]
    if not content.strip() or not _is_utf8(content):
        raise BadRowError("bad_message")
    return Message(role=entry["role"], content=content)


def _one_answer(value: Any) -> str:
    messages = _messages(value, "assistant")
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise BadRowError("no_answer")
    return messages[0]["content"]


def _is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogates (JSON can escape them, UTF-8 cannot hold them)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _split(row: dict[str, Any], messages: tuple[Message, ...], params: SplitParams) -> Split:
    for split in SPLITS:
        if row.get("split") == split:
            return split
    asked = next((message["content"] for message in messages if message["role"] == "user"), "")
    return split_of(asked, params)
