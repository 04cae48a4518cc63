"""Preference margins: the right tokens, against the right model."""

import json

import pytest
import torch

from infra.errors import BadInput
from model.config import ModelConfig
from model.transformer import Transformer
from tasks.encoding import Encoder
from tasks.evaluate.preferences import (
    Pair,
    Rendered,
    choice,
    choose,
    log_probabilities,
    margins,
    read_pairs,
    sequences,
)
from tasks.tokenizer import learn_bpe

PROMPT = ({"role": "user", "content": "Why?"},)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(learn_bpe([["Because of the shape of the array."]], 280))


def _model(vocab_size: int, seed: int) -> Transformer:
    shape = ModelConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        n_layers=2,
        n_heads=2,
        n_kv_heads=2,
        intermediate_size=48,
        max_seq_len=64,
        init_std=0.2,
    )
    return Transformer(shape, seed=seed).eval()


def test_pairs_share_their_prompt_and_end_with_im_end(encoder):
    chosen, rejected = sequences(encoder, Pair(PROMPT, "Because.", " No \n"))
    n = chosen.prompt_length
    assert n == rejected.prompt_length
    assert chosen.ids[:n] == rejected.ids[:n]
    assert encoder.decode(chosen.ids[:n]).endswith("<|im_start|>assistant\n")
    assert encoder.decode(chosen.ids[n:]) == "Because.<|im_end|>"
    assert encoder.decode(rejected.ids[n:]) == "No<|im_end|>"


def test_log_probabilities_are_those_of_each_answer_by_itself(encoder):
    model = _model(encoder.vocab_size, seed=3)
    given = [Rendered([5, 6, 7, 8, 9, 10, 11], 4), Rendered([5, 6, 7], 2), Rendered([9, 8, 7, 6, 5], 1)]
    result = log_probabilities(model, given, encoder.pad)
    for one, value in zip(given, result, strict=True):
        with torch.inference_mode():
            table = model.logits(model(torch.tensor([one.ids]))).log_softmax(-1)[0]
        expected = sum(table[t - 1, one.ids[t]].item() for t in range(one.prompt_length, len(one.ids)))
        assert value == pytest.approx(expected, abs=1e-4)


def test_a_choice_is_scored_by_the_byte_and_by_what_the_question_adds(encoder):
    model = _model(encoder.vocab_size, seed=3)
    given = [choice(encoder, Pair(PROMPT, "Because of it.", "No."))]
    (asked, alone) = given[0].asked, given[0].alone
    assert encoder.decode(asked[0].ids[1:]) == "Question: Why?\nAnswer: Because of it."
    assert encoder.decode(alone[1].ids[1:]) == "Answer: No." and asked[0].n_bytes == len(" Because of it.")
    found = choose(model, given, encoder.pad)
    with_question, by_itself = (log_probabilities(model, list(sides), encoder.pad) for sides in (asked, alone))
    assert found.a_byte[0] == pytest.approx(with_question / [15, 4])
    assert found.gain[0] == pytest.approx(with_question - by_itself)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [(None, True), ("given", True), ("same_page", True), ("truncated", False), ("repetition", False)],
)
def test_a_spoilt_right_answer_is_no_other_answer(kind, counts):
    assert Pair(PROMPT, "a", "b", kind).is_choice == counts


def test_a_model_has_no_margin_over_itself_and_the_opposite_one_when_swapped(encoder):
    policy, reference = _model(encoder.vocab_size, seed=1), _model(encoder.vocab_size, seed=2)
    pairs = [sequences(encoder, Pair(PROMPT, "Because of it.", "No.")), sequences(encoder, Pair(PROMPT, "a", "b"))]
    assert margins(policy, policy, pairs, encoder.pad).tolist() == [0.0, 0.0]
    forward = margins(policy, reference, pairs, encoder.pad)
    assert (forward != 0).all()
    assert margins(reference, policy, pairs, encoder.pad) == pytest.approx(-forward)


def test_pairs_are_read_evenly_and_a_bad_line_is_named(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": list(PROMPT), "chosen": f"c{k}", "rejected": f"r{k}", "margin": 1} for k in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pairs, n = read_pairs(path, 3)
    assert n == 6 and [pair.chosen for pair in pairs] == ["c0", "c2", "c4"]
    as_messages = [{**row, "chosen": [{"role": "assistant", "content": row["chosen"]}]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in as_messages), encoding="utf-8")
    assert read_pairs(path, 3)[0] == pairs
    message = [{"role": "assistant", "content": "Yes."}]
    path.write_text(json.dumps({"prompt": list(PROMPT), "chosen": message, "rejected": "No."}) + "\n", encoding="utf-8")
    assert read_pairs(path, 3)[0] == [Pair(PROMPT, "Yes.", "No.")]
    path.write_text(json.dumps({"prompt": [], "chosen": "a", "rejected": "b"}) + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"pairs.jsonl, line 1"):
        read_pairs(path, 3)
