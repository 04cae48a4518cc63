"""Asking and reading: prompts, endings, what counts as the base model's answer."""

import json

import pytest

from infra.errors import BadInput
from tasks.encoding import Encoder
from tasks.evaluate.answers import (
    CHATML,
    PLAIN,
    Question,
    Scored,
    ask,
    better_style,
    figures,
    prompt_ids,
    read_answer,
    read_questions,
    stop_ids,
    task_hash,
)
from tasks.tokenizer import learn_bpe


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(learn_bpe([["It returns the shape of the array.", "Question: what? Answer: this."]], 300))


def _question(number: int = 0, text: str = "What is a heap?", reference: str = "A tree.") -> Question:
    return Question(number, ({"role": "user", "content": text},), reference)


def _write(path, conversations):
    path.write_text("".join(json.dumps({"messages": c}) + "\n" for c in conversations), encoding="utf-8")
    return path


def test_questions_are_evenly_spaced_and_the_last_answer_is_the_reference(tmp_path):
    def turn(k):
        return [{"role": "user", "content": f"q{k}"}, {"role": "assistant", "content": f"a{k}"}]

    path = _write(tmp_path / "test.jsonl", [turn(k) for k in range(10)])
    questions, n = read_questions(path, 4)
    assert n == 10
    assert [(q.number, q.text, q.reference) for q in questions] == [
        (0, "q0", "a0"),
        (2, "q2", "a2"),
        (5, "q5", "a5"),
        (7, "q7", "a7"),
    ]
    path = _write(tmp_path / "long.jsonl", [turn(1) + turn(2)])
    (question,), _ = read_questions(path, 4)
    assert (question.text, question.reference, len(question.messages)) == ("q2", "a2", 3)
    assert read_questions(_write(tmp_path / "none.jsonl", []), 4) == ([], 0)


def test_only_a_newline_ends_a_line_of_the_file(tmp_path):
    odd = "a\u2028b\x85c"
    messages = [{"role": "user", "content": odd}, {"role": "assistant", "content": odd}]
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"messages": messages}, ensure_ascii=False) + "\n", encoding="utf-8")
    ((question,), n) = read_questions(path, 4)
    assert n == 1 and question.text == odd


@pytest.mark.parametrize("line", ["not json", "{}", '{"messages": []}', '{"messages": [{"role": "user"}]}', "[]"])
def test_a_line_without_a_conversation_is_named(tmp_path, line):
    path = tmp_path / "test.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"test.jsonl, line 1: needs a JSON object"):
        read_questions(path, 4)


def test_prompts_end_where_the_answer_begins(encoder):
    chat = prompt_ids(encoder, _question(), CHATML)
    assert encoder.decode(chat) == "<|im_start|>user\nWhat is a heap?<|im_end|>\n<|im_start|>assistant\n"
    plain = prompt_ids(encoder, _question(), PLAIN)
    assert plain[0] == encoder.end_of_text
    assert encoder.decode(plain[1:]) == "Question: What is a heap?\nAnswer:"


def test_a_chat_answer_ends_with_im_end_only(encoder):
    body = encoder.encode("It is a tree.")
    assert read_answer(encoder, [*body, encoder.im_end], CHATML) == ("It is a tree.", "stop")
    assert read_answer(encoder, [*body, encoder.end_of_text], CHATML) == ("It is a tree.", "length")
    assert read_answer(encoder, body, CHATML) == ("It is a tree.", "length")
    assert read_answer(encoder, [], CHATML) == ("", "length")
    assert read_answer(encoder, [encoder.im_end], CHATML) == ("", "stop")
    assert set(stop_ids(encoder, CHATML)) == {encoder.im_end, encoder.end_of_text}


def test_a_plain_answer_is_the_first_line_that_holds_anything(encoder):
    def read(text, *end):
        return read_answer(encoder, [*encoder.encode(text), *end], PLAIN)

    assert read(" It is a tree.\nQuestion: and?") == ("It is a tree.", "stop")
    assert read("\n\nIt is a tree.\n") == ("It is a tree.", "stop")
    assert read(" It is a tree.", encoder.end_of_text) == ("It is a tree.", "stop")
    assert read(" It is a tree. And") == ("It is a tree. And", "length")


def test_answers_are_measured_in_the_order_of_the_questions(encoder):
    questions = [_question(0, "one?", "The shape of it."), _question(1, "two?", "Nothing like this.")]
    seen = []

    def generate(prompts, max_new_tokens, stops):
        seen.append((len(prompts), max_new_tokens, set(stops)))
        return [[*encoder.encode("The shape of it."), encoder.im_end], encoder.encode("so so so so")]

    first, second = ask(encoder, generate, questions, CHATML, 17)
    assert seen == [(2, 17, {encoder.im_end, encoder.end_of_text})]
    assert (first.rouge_l, first.exact_form, first.ended) == (1.0, True, True)
    assert (second.rouge_l, second.exact_form, second.ended) == (0.0, False, False)
    assert figures([first, second])["rouge_l"].value == 0.5


def test_the_better_way_of_asking_stands_for_the_base_model():
    good, bad = Scored("a", "stop", 0.5, True), Scored("a", "stop", 0.2, True)
    assert better_style({CHATML: [bad], PLAIN: [good]}) == PLAIN
    assert better_style({CHATML: [good], PLAIN: [bad]}) == CHATML
    assert better_style({CHATML: [good], PLAIN: [good]}) == CHATML


def test_the_task_hash_follows_what_is_asked():
    base = task_hash("answers", CHATML, [_question()], 64)
    assert base == task_hash("answers", CHATML, [_question()], 64)
    others = [
        task_hash("answers", PLAIN, [_question()], 64),
        task_hash("answers", CHATML, [_question()], 65),
        task_hash("answers", CHATML, [_question(text="Why?")], 64),
        task_hash("answers", CHATML, [_question(reference="No.")], 64),
    ]
    assert len({base, *others}) == 5
