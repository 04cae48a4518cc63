"""The LSTM against torch's cell step by step; documents in a row that do not see each other."""

import pytest
import torch
from torch import nn

from model.config import LSTMConfig, ModelConfig, read_config
from model.hf import load_hf, load_network, save_hf
from model.losses import IGNORE_INDEX, next_token_labels
from model.lstm import LSTM, packing_order


def model_of(**changes) -> LSTM:
    return LSTM(LSTMConfig(**{"vocab_size": 53, "hidden_size": 16, "n_layers": 2, "max_seq_len": 32} | changes), seed=1)


TOKENS = torch.randint(53, (3, 24), generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[0] * 24, [4] * 5 + [5] * 1 + [6] * 18, [0] * 10 + [1] * 14])
DOCUMENTS = [(0, 0, 24), (1, 0, 5), (1, 5, 6), (1, 6, 24), (2, 0, 10), (2, 10, 24)]


def cell_by_cell(model: LSTM, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states [B, T, H] from torch's single cells, one position after another."""
    states = model.embed_tokens(tokens)
    for layer in range(model.config.n_layers):
        cell = nn.LSTMCell(model.config.hidden_size, model.config.hidden_size)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({name: getattr(model.lstm, f"{name}_l{layer}") for name in names})
        state, outputs = None, []
        for position in range(tokens.shape[1]):
            state = cell(states[:, position], state)
            outputs.append(state[0])
        states = torch.stack(outputs, dim=1)
    return states


def test_states_are_those_of_single_cells():
    model = model_of()
    torch.testing.assert_close(model(TOKENS), cell_by_cell(model, TOKENS))


def test_packed_documents_are_as_if_alone_in_states_loss_and_gradients():
    model = model_of(tie_embeddings=True)
    labels = next_token_labels(TOKENS)
    for row, _, end in DOCUMENTS:
        labels[row, end - 1] = IGNORE_INDEX
    packed = model(TOKENS, document_ids=IDS)
    for row, start, end in DOCUMENTS:
        torch.testing.assert_close(packed[row : row + 1, start:end], model(TOKENS[row : row + 1, start:end]))
    total, count = model(TOKENS, document_ids=IDS, labels=labels)
    total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    alone = [model(TOKENS[r : r + 1, a:b], labels=labels[r : r + 1, a:b]) for r, a, b in DOCUMENTS]
    sum(loss for loss, _ in alone).backward()
    assert total.item() == pytest.approx(sum(float(loss.detach()) for loss, _ in alone), rel=1e-6)
    assert count == sum(n for _, n in alone)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_no_gradient_leaks_from_one_document_to_another():
    model = model_of()
    x = model.embed_tokens(TOKENS).detach().requires_grad_()
    model.embed_tokens.forward = lambda _: x
    model(TOKENS, document_ids=IDS)[1, 6:24].sum().backward()
    seen = x.grad.abs().sum(dim=-1) > 0
    assert seen[1, 6:].all() and not seen[1, :6].any() and not seen[[0, 2]].any()


def test_packing_order_is_time_major_longest_first():
    order, sizes = packing_order(torch.tensor([[1, 1, 2], [3, 3, 3]]))
    assert sizes.tolist() == [3, 2, 1]
    assert order.tolist() == [3, 0, 2, 4, 1, 5]  # first tokens of 333, 11, 2; second ones of 333, 11; the third of 333


def test_equal_ids_of_different_rows_are_different_documents():
    model = model_of()
    ids = torch.zeros_like(TOKENS)
    torch.testing.assert_close(model(TOKENS, document_ids=ids), model(TOKENS))


def test_seed_alone_decides_the_weights():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, second = model_of().state_dict(), model_of().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_forget_gate_starts_open():
    bias = model_of().lstm.bias_ih_l1.detach()
    assert bias.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
    assert (model_of().lstm.bias_hh_l0 == 0).all()


@pytest.mark.parametrize("tied", [False, True])
def test_folder_round_trip_is_exact(tmp_path, tied):
    model = model_of(tie_embeddings=tied)
    save_hf(model, tmp_path, eos_token_id=3)
    read = load_network(tmp_path)
    assert isinstance(read, LSTM) and read.config == model.config
    assert torch.equal(read.logits(read(TOKENS)), model.logits(model(TOKENS)))
    assert (read.lm_head.weight is read.embed_tokens.weight) == tied
    with pytest.raises(ValueError, match="is an LSTM"):
        load_hf(tmp_path)


def test_config_json_round_trips_and_is_no_llama():
    config = model_of().config
    assert read_config(config.to_hf()) == config
    with pytest.raises(ValueError, match="sluice_lstm"):
        ModelConfig.from_hf(config.to_hf())


def test_bfloat16_autocast_stays_near_fp32():
    model = model_of(init_std=0.5)
    labels = next_token_labels(TOKENS)
    exact, _ = model(TOKENS, document_ids=IDS, labels=labels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = model(TOKENS, document_ids=IDS, labels=labels)
    rounded.backward()
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)
    assert rounded.item() != exact.item()
