"""Bits per byte: every token once, inside its document, over the right bytes."""

import math

import numpy as np
import pytest
import torch

from model.indexed import IndexedDataset, IndexedWriter
from tasks.evaluate.prediction import IGNORE_INDEX, HeldOut, bits_per_byte, take_heldout, token_bits, windows
from tests.tasks.evaluate.little import little_model

END = 0
VOCAB = 50


def _heldout(lengths: list[int], seed: int = 0) -> HeldOut:
    generator = np.random.default_rng(seed)
    documents = [np.append(generator.integers(1, VOCAB, n - 1), END) for n in lengths]
    sizes = np.array([3 * (n - 1) for n in lengths])
    tokens = np.concatenate(documents)
    return HeldOut(tokens, np.repeat(np.arange(len(lengths)), lengths), tokens != END, sizes)


def test_windows_hold_every_token_once_as_a_label_after_the_token_before_it():
    heldout = _heldout([5, 9, 3])
    inputs, labels, documents = windows(heldout, END, 4)
    kept = labels != IGNORE_INDEX
    assert labels[kept].tolist() == heldout.tokens.tolist()
    assert documents[kept].tolist() == heldout.documents.tolist()
    assert inputs[kept].tolist() == [END, *heldout.tokens[:-1].tolist()]


def test_bits_equal_those_of_each_document_by_itself_when_a_window_holds_all():
    heldout = _heldout([6, 11, 2])
    model = little_model(VOCAB, max_seq_len=64)
    bits = token_bits(model, heldout, END, 2048)
    expected = []
    for k in range(3):
        document = heldout.tokens[heldout.documents == k]
        tokens = torch.tensor([[END, *document[:-1].tolist()]])
        with torch.inference_mode():
            log_probabilities = model.logits(model(tokens)).log_softmax(-1)
        expected += [-log_probabilities[0, t, w].item() / math.log(2) for t, w in enumerate(document)]
    assert bits == pytest.approx(np.array(expected), abs=1e-4)


def test_short_windows_batches_and_padding_change_no_token_count():
    heldout = _heldout([40, 25, 8])
    bits = token_bits(little_model(VOCAB, max_seq_len=16), heldout, END, 2048)
    assert bits.shape == heldout.tokens.shape
    assert np.isfinite(bits).all() and (bits > 0).all()


def test_windows_are_no_longer_than_they_may_be():
    heldout = _heldout([40, 25, 8])
    long = little_model(VOCAB, max_seq_len=64)
    short = little_model(VOCAB, max_seq_len=16)
    short.load_state_dict(long.state_dict())
    assert token_bits(long, heldout, END, 16) == pytest.approx(token_bits(short, heldout, END, 2048), abs=1e-5)
    assert (token_bits(long, heldout, END, 16) != token_bits(long, heldout, END, 2048)).any()


def test_a_uniform_model_needs_log2_of_the_vocabulary_for_each_token_of_text():
    heldout = _heldout([30, 12])
    model = little_model(VOCAB, max_seq_len=16)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    result = bits_per_byte(token_bits(model, heldout, END, 2048), heldout)
    assert result.value == pytest.approx(40 * math.log2(VOCAB) / heldout.total_bytes, rel=1e-5)
    assert result.n == 2


def test_the_standard_error_is_that_of_a_ratio_over_documents():
    heldout = HeldOut(np.ones(4, np.int64), np.arange(4), np.ones(4, bool), np.array([10, 20, 30, 40]))
    even = bits_per_byte(np.array([10.0, 20.0, 30.0, 40.0]), heldout)
    assert (even.value, even.stderr) == (1.0, 0.0)
    uneven = bits_per_byte(np.array([20.0, 10.0, 40.0, 30.0]), heldout)
    assert uneven.stderr == pytest.approx(math.sqrt(400 * 4 / 3) / 100)
    with pytest.raises(ValueError, match="without bytes"):
        bits_per_byte(np.zeros(1), _heldout([1]))


def test_heldout_documents_are_all_or_evenly_spaced(tmp_path):
    documents = [[k + 1] * (k + 1) + [END] for k in range(12)]
    for name, chosen in (("a", documents[:5]), ("b", documents[5:])):
        with IndexedWriter(tmp_path / name, np.uint16) as writer:
            for document in chosen:
                writer.add_document(np.array(document))
    files = [IndexedDataset(tmp_path / name) for name in "ab"]
    sizes = np.array([0] + [2] * (VOCAB - 1))
    everything = take_heldout(files, sizes, max_tokens=1000)
    assert everything.tokens.tolist() == [token for document in documents for token in document]
    assert everything.n_bytes.tolist() == [2 * (k + 1) for k in range(12)]
    third = take_heldout(files, sizes, max_tokens=30)  # 90 tokens in all
    assert third.tokens.tolist() == [token for document in documents[::3] for token in document]
    assert third.documents.tolist() == np.repeat(np.arange(4), [len(d) for d in documents[::3]]).tolist()
