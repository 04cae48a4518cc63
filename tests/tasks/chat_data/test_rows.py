"""Rows of a user's files: what is read, what is refused and why."""

import gzip
import json
from pathlib import Path

import pytest

from infra.errors import BadInput
from infra.split import SplitParams
from tasks.chat_data import rows
from tasks.chat_data.rows import (
    BadRowError,
    Conversation,
    Preference,
    parse_row,
    read_conversations,
    read_lines,
    read_preferences,
)

QUESTION = {"role": "user", "content": "What is a heap?"}
ANSWER = {"role": "assistant", "content": "A tree."}


def parse(row: object) -> Conversation | Preference:
    return parse_row(json.dumps(row).encode(), "file:1", SplitParams())


def test_a_conversation_keeps_what_it_says_of_itself() -> None:
    row = parse({"messages": [QUESTION, ANSWER], "doc_id": 7, "split": "test", "kind": "faq"})
    assert row == Conversation((QUESTION, ANSWER), "7", "test", "faq")
    assert row.question == "What is a heap?" and row.answer == "A tree."
    assert parse_row(row.to_json().encode(), "x", SplitParams()) == row


def test_a_row_is_one_line_whatever_counts_as_a_line_end() -> None:
    row = parse({"messages": [QUESTION, {**ANSWER, "content": "a\x85b\u2028c\u2029d\ne \u4f60"}], "doc_id": "7"})
    assert len(row.to_json().splitlines()) == 1
    assert "\u4f60" in row.to_json()
    assert parse_row(row.to_json().encode(), "x", SplitParams()) == row


def test_a_row_without_a_split_gets_one_by_what_is_asked() -> None:
    sides = {parse({"messages": [{"role": "user", "content": f"Question {n}?"}, ANSWER]}).split for n in range(300)}
    assert sides == {"train", "validation", "test"}
    one, again = (parse({"messages": [QUESTION, {**ANSWER, "content": text}]}).split for text in ("a", "b"))
    assert one == again


def test_a_preference_may_write_its_answers_as_texts_or_messages() -> None:
    as_text = parse({"prompt": "What?", "chosen": "Good.", "rejected": "Bad."})
    as_messages = parse(
        {
            "prompt": [{"role": "user", "content": "What?"}],
            "chosen": [{"role": "assistant", "content": "Good."}],
            "rejected": [{"role": "assistant", "content": "Bad."}],
        }
    )
    assert as_text == as_messages
    assert isinstance(as_text, Preference) and (as_text.chosen, as_text.rejected) == ("Good.", "Bad.")
    assert parse_row(as_text.to_json().encode(), "file:1", SplitParams()) == as_text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[1]", "not_a_row"),
        (b'{"text": "x"}', "not_a_row"),
        (b'{"prompt": "x", "chosen": "y"}', "not_a_row"),
        (b'{"messages": "x"}', "bad_message"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', "bad_message"),
        (b'{"messages": [{"role": "user", "content": "  "}]}', "bad_message"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "bad_message"),
        (b'{"messages": [], "doc_id": "\\ud800"}', "bad_doc_id"),
        (b'{"prompt": "x", "chosen": "y", "rejected": "z", "kind": "\\udc00"}', "bad_kind"),
        (b'{"messages": []}', "no_answer"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "no_answer"),
        (b'{"messages": [{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}]}', "no_answer"),
        (b'{"prompt": [], "chosen": "y", "rejected": "z"}', "no_answer"),
        (b'{"prompt": "x", "chosen": [], "rejected": "z"}', "no_answer"),
    ],
)
def test_lines_that_hold_no_row_are_refused_with_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(BadRowError, match=f"^{reason}$"):
        parse_row(line, "file:1", SplitParams())


def test_packed_files_are_read_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(b"one\n\n  \ntwo\nthree")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = [(1, b"one"), (4, b"two"), (5, b"three")]
    assert list(read_lines(plain)) == list(read_lines(packed)) == expected


def test_a_line_too_long_is_skipped_without_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 3_000_000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n" + b"x" * 8_000_000 + b"\ntwo\n" + b"y" * 3_000_001 + b"\nthree")
    assert list(read_lines(path)) == [(1, b"one"), (2, None), (3, b"two"), (4, None), (5, b"three")]


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"line\n" * 100_000)[:-200])
    with pytest.raises(BadInput, match=r"a\.jsonl\.gz: cannot be read"):
        list(read_lines(path))


def test_reading_back_what_the_stage_wrote_refuses_a_damaged_line(tmp_path: Path) -> None:
    row = Conversation((QUESTION, ANSWER), "7", "test", "faq")  # type: ignore[arg-type]
    pair = Preference((QUESTION,), "Good.", "Bad.", "7", "test", "truncated")  # type: ignore[arg-type]
    path = tmp_path / "test.jsonl"
    path.write_text(row.to_json() + "\n" + pair.to_json() + "\n")
    assert read_conversations(path) == [row]
    assert read_preferences(path) == [pair]
    path.write_text(row.to_json() + "\n{}\n")
    with pytest.raises(BadInput, match="line 2"):
        read_conversations(path)
