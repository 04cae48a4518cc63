"""Masking: BERT's shares, a function of (seed, step, row), separators left alone; and attention both ways."""

import numpy as np
import pytest
import torch

from model.batching import share_of_rank
from model.config import ModelConfig
from model.data import TokenRows
from model.generate import SamplingConfig, generate
from model.hf import load_hf, load_network, save_hf
from model.indexed import IndexedWriter
from model.losses import IGNORE_INDEX
from model.masked import MaskTokens, mask_row, stack_masked
from model.objectives import MaskedToken
from model.transformer import Transformer

VOCABULARY = MaskTokens(vocab_size=100, mask=99, special=frozenset([97, 98]))
TOKENS = np.random.default_rng(0).integers(0, 97, 100_000)
TOKENS[::50] = 97


def test_shares_are_berts():
    shown, labels = mask_row(TOKENS, 7, 3, 0, VOCABULARY)
    predicted = labels != IGNORE_INDEX
    n = predicted.sum()
    words = (TOKENS != 97).sum()
    assert n / words == pytest.approx(0.15, abs=4 * np.sqrt(0.15 * 0.85 / words))  # four standard errors each
    assert (shown[predicted] == 99).mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / n))
    # A token drawn in place of another is that one itself once in 97 draws.
    assert (shown == TOKENS)[predicted].mean() == pytest.approx(0.1 + 0.1 / 97, abs=4 * np.sqrt(0.09 / n))
    assert (labels[predicted] == TOKENS[predicted]).all()
    assert (shown[~predicted] == TOKENS[~predicted]).all()


def test_another_token_is_any_word_and_no_special():
    shown, labels = mask_row(TOKENS, 7, 3, 0, VOCABULARY)
    replaced = shown[(shown != TOKENS) & (shown != 99)]
    assert set(replaced.tolist()) == set(range(97))
    counts = np.bincount(replaced)
    # Chi-square with 96 degrees of freedom: 144.6 is its 99.9th percentile.
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 144.6
    assert labels.max() < 97 and not (labels[TOKENS == 97] != IGNORE_INDEX).any()


@pytest.mark.parametrize("changed", [(8, 3, 0), (7, 4, 0), (7, 3, 1), (3, 7, 0)])
def test_row_step_and_seed_each_change_the_mask(changed):
    same = mask_row(TOKENS, 7, 3, 0, VOCABULARY)
    assert all(np.array_equal(a, b) for a, b in zip(same, mask_row(TOKENS, 7, 3, 0, VOCABULARY), strict=True))
    overlap = ((mask_row(TOKENS, *changed, VOCABULARY)[1] >= 0) & (same[1] >= 0)).mean()
    assert overlap == pytest.approx(0.15**2, abs=0.003)  # independent draws


def test_the_mask_of_a_row_begins_alike_at_any_length():
    """Whether a token is predicted does not hang on how the row goes on."""
    short, long = (mask_row(TOKENS[:n], 7, 3, 0, VOCABULARY)[1] for n in (64, 128))
    assert np.array_equal(short, long[:64])


@pytest.fixture
def data(tmp_path) -> TokenRows:
    with IndexedWriter(tmp_path / "train", "uint16") as writer:
        for start in range(0, 2000, 50):
            writer.add_document([*TOKENS[start + 1 : start + 50], 97])
    return TokenRows([tmp_path / "train"], 64)


def test_ranks_and_micro_batches_see_the_same_masks(data):
    rows = np.array([5, 2, 9, 11, 0])
    whole = stack_masked(data, rows.tolist(), 4, 1, VOCABULARY)
    for rank in range(2):
        for micro in share_of_rank(rows, rank, 2, 2):
            part = stack_masked(data, micro, 4, 1, VOCABULARY)
            for place, row in enumerate(micro):
                if row is None:
                    assert (part[1][place] == IGNORE_INDEX).all()
                    continue
                where = rows.tolist().index(row)
                assert all(torch.equal(a[place], b[where]) for a, b in zip(part, whole, strict=True))


def test_the_divisor_is_the_masked_tokens_and_validation_repeats_itself(data):
    objective = MaskedToken(data, VOCABULARY, seed=3, device=torch.device("cpu"))
    batch = objective.micro_batch([0, 1, None], 5)
    labels = batch.tensors["labels"]
    assert batch.weight == (labels != IGNORE_INDEX).sum() > 5
    assert batch.tokens == 128
    again = objective.micro_batch([0, 1]).tensors["tokens"]
    assert torch.equal(again, objective.micro_batch([0, 1], 0).tensors["tokens"])


CONFIG = ModelConfig(
    vocab_size=100,
    hidden_size=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    intermediate_size=48,
    max_seq_len=64,
    init_std=0.3,
    causal=False,
)


def test_attention_goes_both_ways_within_a_document_only():
    model = Transformer(CONFIG, seed=0)
    tokens = torch.from_numpy(TOKENS[:64].copy())[None]
    ids = torch.tensor([[0] * 20 + [1] * 44])
    changed = tokens.clone()
    changed[0, 40] = 5
    with torch.no_grad():
        before, after = (model(x, document_ids=ids)[0] for x in (tokens, changed))
        alone = model(tokens[:, 20:])[0]
    assert torch.equal(before[:20], after[:20])
    assert (before[20:] != after[20:]).any(dim=-1).all()  # earlier positions too
    torch.testing.assert_close(before[20:], alone, rtol=1e-4, atol=1e-4)


def test_logits_are_those_of_transformers_with_is_causal_off(tmp_path):
    from transformers import AutoModelForCausalLM

    model = Transformer(CONFIG, seed=0)
    save_hf(model, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.from_numpy(TOKENS[:60].copy()).view(2, 30)
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert (model.logits(model(tokens)) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_model_of_masked_tokens_writes_no_text(tmp_path):
    model = Transformer(CONFIG, seed=0)
    save_hf(model, tmp_path)
    assert load_network(tmp_path).config == CONFIG.model_copy(update={"head_dim": 8})
    with pytest.raises(ValueError, match="reads both ways"):
        load_hf(tmp_path)
    with pytest.raises(ValueError, match="reads both ways"):
        generate(model, [[1]], SamplingConfig())
