"""Needles: they stand where they are said to, and only a model that finds them is told to have."""

import pytest
import torch

from model.config import ModelConfig
from model.transformer import Transformer
from tasks.evaluate.needle import Answered, Needle, cells, make_trial, retrieve

START, PAD = 0, 49
NEEDLE = Needle(question=(7, 8), answer=(30, 31), end=(9,))
PIECES = [(1, 2, 3)] * 10
VOCAB = 50


@pytest.mark.parametrize(("depth", "before"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_a_needle_stands_at_its_depth(depth: float, before: int):
    trial = make_trial(PIECES, NEEDLE, [(30, 32)], length=28, depth=depth, start_token=START)
    text = [START, *[1, 2, 3] * before, 7, 8, 30, 31, 9, *[1, 2, 3] * (6 - before), 7, 8]
    assert list(trial.prompt) == text and len(text) <= 28
    assert trial.prompt[len(text) - trial.distance] == 30
    assert (trial.answer, trial.wrong) == ((30, 31), ((30, 32),))


def test_a_text_that_is_too_short_or_too_little_is_refused():
    with pytest.raises(ValueError, match="does not fit into 7"):
        make_trial(PIECES, NEEDLE, [], length=7, depth=0.0, start_token=START)
    with pytest.raises(ValueError, match="30 tokens of text do not fill"):
        make_trial(PIECES, NEEDLE, [], length=64, depth=0.0, start_token=START)


def _always(token: int) -> Transformer:
    """A network that expects `token` after anything, and then the next id, whatever stands before."""
    shape = ModelConfig(
        vocab_size=VOCAB,
        hidden_size=VOCAB,
        n_layers=1,
        n_heads=1,
        n_kv_heads=1,
        intermediate_size=8,
        max_seq_len=64,
    )
    model = Transformer(shape).eval()
    with torch.no_grad():
        for name in ("o_proj", "down_proj"):
            for path, parameter in model.named_parameters():
                if name in path:
                    parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(VOCAB))
        follows = torch.zeros(VOCAB, VOCAB)  # [next, last]
        follows[token] = 0.5
        for last in (30, 31):
            follows[last + 1, last] = 1.0
        model.lm_head.weight.copy_(follows)
    return model


def test_exact_and_ranked_are_what_the_model_writes_and_prefers():
    trials = [
        make_trial(PIECES, needle, wrong, length=28, depth=0.5, start_token=START)
        for needle, wrong in (
            (NEEDLE, [(40, 41), (30, 32)]),  # it writes 30, 31
            (Needle((7, 8), (40, 41)), [(30, 31)]),  # it writes 30
            (Needle((7, 8), (40, 41)), [(42, 43)]),  # both are as unlikely: not found
            (Needle((7, 8), (30,)), []),
        )
    ]
    assert retrieve(_always(30), trials, PAD) == [
        Answered(exact=True, ranked=True),
        Answered(exact=False, ranked=False),
        Answered(exact=False, ranked=False),
        Answered(exact=True, ranked=None),
    ]


def test_shares_are_by_length_and_depth():
    trials = [
        make_trial(PIECES, NEEDLE, [(1,)], length=length, depth=depth, start_token=START)
        for length, depth in ((28, 0.0), (16, 1.0), (28, 0.0), (28, 1.0))
    ]
    answered = [Answered(True, True), Answered(False, None), Answered(False, True), Answered(True, False)]
    found = cells(trials, answered)
    assert [(cell.length, cell.depth, cell.exact.value) for cell in found] == [
        (16, 1.0, 0),
        (28, 0.0, 0.5),
        (28, 1.0, 1),
    ]
    assert [cell.ranked.value if cell.ranked else None for cell in found] == [None, 1.0, 0.0]
