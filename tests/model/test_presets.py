"""Shapes by name, by the dial and by parameters: the counts that are promised, against networks."""

from itertools import pairwise

import pytest
import torch

from model.config import LSTMConfig, ModelConfig
from model.lstm import LSTM
from model.presets import (
    PRESETS,
    lstm_for_params,
    matmul_params,
    shape_for_params,
    sizes_of_depth,
    sizes_of_width,
)
from model.transformer import Transformer

NOMINAL = {"m": 1e6, "b": 1e9}
VOCABULARY = {"1m": 4096, "3m": 4096, "10m": 4096, "1b": 128_256, "8b": 128_256}


def config_of(sizes, vocab_size: int = 4096) -> ModelConfig:
    return ModelConfig(vocab_size=vocab_size, max_seq_len=64, **sizes)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_about_the_parameters_of_its_name(name):
    wanted = float(name[:-1]) * NOMINAL[name[-1]]
    assert config_of(PRESETS[name], VOCABULARY.get(name, 32_768)).n_params == pytest.approx(wanted, rel=0.24)


def test_the_largest_presets_are_llama_3s():
    assert config_of(PRESETS["8b"], 128_256).n_params == 8_030_261_248  # meta-llama/Meta-Llama-3-8B
    assert config_of(PRESETS["1b"], 128_256).n_params == 1_235_814_400  # meta-llama/Llama-3.2-1B


@pytest.mark.parametrize("name", PRESETS)
def test_counts_are_those_of_the_network(name):
    config = config_of(PRESETS[name])
    with torch.device("meta"):
        model = Transformer(config)
    assert config.n_params == sum(parameter.numel() for parameter in model.parameters())
    assert config.n_matmul_params == matmul_params(PRESETS[name], 4096)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 12, 16, 17, 24, 40])
def test_the_dial_is_64_wide_a_layer_in_whole_heads(depth):
    sizes = sizes_of_depth(depth)
    config = config_of(sizes)
    assert sizes["n_layers"] == depth
    assert 64 * depth <= config.hidden_size < 64 * depth + config.head_size
    assert config.head_size == (32 if depth < 4 else 64 if depth < 16 else 128)
    assert 8 / 3 * config.hidden_size <= config.intermediate_size < 8 / 3 * config.hidden_size + 128
    assert config.intermediate_size % (64 if depth < 16 else 128) == 0


def test_the_dial_at_12_is_the_125m_preset():
    assert sizes_of_depth(12) == {name: PRESETS["125m"][name] for name in sizes_of_depth(12)}


@pytest.mark.parametrize("vocab_size", [0, 512, 4096])
@pytest.mark.parametrize("params", [3e5, 5e5, 8e5, 1e6, 1.7e6, 3e6, 1e7, 4e7, 1e8, 7e8, 3e9, 7e10])
def test_a_shape_for_parameters_has_them_and_ordinary_proportions(params, vocab_size):
    sizes = shape_for_params(params, vocab_size)
    assert matmul_params(sizes, vocab_size) == pytest.approx(params, rel=0.2 if params < 1e6 else 0.1)
    if params >= 1e6:
        assert 20 <= sizes["hidden_size"] / sizes["n_layers"] <= 128
    assert sizes == sizes_of_width(sizes["hidden_size"], sizes["n_layers"])


def test_aspect_trades_width_for_depth_at_equal_parameters():
    found = [shape_for_params(1e7, 4096, aspect) for aspect in (16, 64, 256)]
    layers = [sizes["n_layers"] for sizes in found]
    assert layers == sorted(layers, reverse=True) and layers[0] > 2 * layers[1] > 4 * layers[2] / 2
    assert all(matmul_params(sizes, 4096) == pytest.approx(1e7, rel=0.1) for sizes in found)


def test_more_parameters_never_give_a_smaller_network():
    counts = [matmul_params(shape_for_params(2e5 * 1.2**step, 512), 512) for step in range(40)]
    assert all(a <= b for a, b in pairwise(counts))


def test_an_impossible_number_of_parameters_is_refused_in_one_line():
    with pytest.raises(ValueError, match="no network of 1,000 parameters") as caught:
        shape_for_params(1000, 4096)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no LSTM of 1,000 parameters"):
        lstm_for_params(1000, 4096)


@pytest.mark.parametrize("params", [1e6, 1e7, 1e8])
def test_an_lstm_for_parameters_has_them(params):
    hidden_size, n_layers = lstm_for_params(params, 4096)
    config = LSTMConfig(vocab_size=4096, hidden_size=hidden_size, n_layers=n_layers, max_seq_len=64)
    assert config.n_matmul_params == pytest.approx(params, rel=0.05)
    with torch.device("meta"):
        model = LSTM(config)
    assert config.n_params == sum(parameter.numel() for parameter in model.parameters())
    assert config.n_matmul_params == config.n_params - sum(
        p.numel() for name, p in model.named_parameters() if "bias" in name or "embed" in name
    )
