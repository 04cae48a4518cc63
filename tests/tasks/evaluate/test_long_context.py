"""Loss by position: the right tokens with the right context before them, averaged over documents."""

import math

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.transformer import Transformer
from tasks.evaluate.long_context import by_position, document_means, take_windows, window_nll
from tasks.evaluate.prediction import HeldOut
from tests.tasks.evaluate.little import little_model

END = 0
VOCAB = 40
LENGTH, CONTEXT = 24, 8


def _heldout(*lengths: int) -> HeldOut:
    generator = np.random.default_rng(0)
    documents = [np.append(generator.integers(1, VOCAB, n - 1), END) for n in lengths]
    tokens = np.concatenate(documents)
    sizes = np.array([n - 1 for n in lengths])
    return HeldOut(tokens, np.repeat(np.arange(len(lengths)), lengths), tokens != END, sizes)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return little_model(VOCAB, LENGTH)


def _nll(model: Transformer, before: list[int], token: int) -> float:
    with torch.inference_mode():
        return -model.logits(model(torch.tensor([before])))[0, -1].log_softmax(-1)[token].item()


def test_windows_stay_inside_documents_that_are_long_enough():
    heldout = _heldout(LENGTH - 1, 2 * LENGTH + 5, LENGTH)
    windows = take_windows(heldout, LENGTH, END)
    assert windows.documents.tolist() == [1, 1, 2] and windows.n_documents == 2
    second = heldout.tokens[heldout.documents == 1]
    assert windows.labels[:2].reshape(-1).tolist() == second[: 2 * LENGTH].tolist()
    assert windows.inputs[0].tolist() == [END, *second[: LENGTH - 1]]
    assert windows.inputs[1].tolist() == second[LENGTH - 1 : 2 * LENGTH - 1].tolist()
    assert take_windows(heldout, LENGTH, END, most=1).documents.tolist() == [1, 2]
    assert take_windows(heldout, 1000, END).labels.shape == (0, 1000)


def test_a_window_is_predicted_from_all_that_stands_before(model):
    windows = take_windows(_heldout(LENGTH), LENGTH, END)
    found = window_nll(model, windows)
    for t in (0, 7, LENGTH - 1):
        expected = _nll(model, windows.inputs[0, : t + 1].tolist(), int(windows.labels[0, t]))
        assert found[0, t] == pytest.approx(expected, abs=1e-4)


def test_a_sliding_model_sees_at_least_half_of_its_context_and_never_more_than_all(model):
    windows = take_windows(_heldout(2 * LENGTH, LENGTH), LENGTH, END)
    found = window_nll(model, windows, context=CONTEXT)
    assert found.shape == windows.labels.shape
    inputs, labels = windows.inputs[1], windows.labels[1]
    for t, first in ((3, 0), (7, 0), (8, 4), (11, 4), (12, 8), (LENGTH - 1, LENGTH - CONTEXT)):
        expected = _nll(model, inputs[first : t + 1].tolist(), int(labels[t]))
        assert found[1, t] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="cannot slide"):
        window_nll(model, windows, context=10)


def test_a_uniform_model_loses_the_same_everywhere():
    model = Transformer(
        ModelConfig(
            vocab_size=VOCAB,
            hidden_size=8,
            n_layers=1,
            n_heads=1,
            n_kv_heads=1,
            intermediate_size=8,
            max_seq_len=LENGTH,
        )
    )
    with torch.no_grad():
        model.lm_head.weight.zero_()
    windows = take_windows(_heldout(LENGTH, 3 * LENGTH), LENGTH, END)
    curve = by_position(window_nll(model, windows), windows, [0, 8, LENGTH])
    assert [mean.value for mean in curve] == pytest.approx([math.log(VOCAB)] * 2, rel=1e-5)
    assert [mean.n for mean in curve] == [2, 2]


def test_every_document_counts_once_however_many_windows_it_has():
    windows = take_windows(_heldout(3 * LENGTH, 5, LENGTH), LENGTH, END)
    nll = np.zeros(windows.labels.shape)
    nll[:, CONTEXT:] = np.array([1.0, 2.0, 6.0, 10.0])[:, None]
    assert document_means(nll, windows, CONTEXT).tolist() == [3.0, 10.0]
    assert document_means(nll, windows, 0, CONTEXT).tolist() == [0.0, 0.0]
