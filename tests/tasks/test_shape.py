"""Three ways to say a shape, exactly one at a time; mistakes are one line."""

import json

import pytest
from pydantic import ValidationError

from infra.errors import BadConfig, BadInput
from infra.params import Params
from infra.stage import Draft, Stage
from model.config import LSTMConfig, ModelConfig
from model.presets import PRESETS, sizes_of_depth, sizes_of_width
from tasks.pretrain import PretrainParams, shape_of
from tasks.shape import Shape
from tasks.training import Model, model_config


def network(**said) -> ModelConfig:
    config = Shape(**said).network(1000, 128)
    assert isinstance(config, ModelConfig)
    return config


def test_nothing_said_is_the_small_shape():
    assert network() == ModelConfig(
        vocab_size=1000,
        max_seq_len=128,
        hidden_size=192,
        n_layers=4,
        n_heads=6,
        n_kv_heads=3,
        intermediate_size=512,
        tie_embeddings=True,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_taken_as_it_is(name):
    assert network(preset=name) == ModelConfig(vocab_size=1000, max_seq_len=128, **PRESETS[name])


def test_what_goes_with_a_preset_wins_over_it():
    config = network(preset="8b", tie_embeddings=True, rope_theta=10_000, n_kv_heads=4, qk_norm=True)
    assert (config.tie_embeddings, config.rope_theta, config.n_kv_heads, config.qk_norm) == (True, 10_000, 4, True)
    assert config.hidden_size == 4096


def test_the_dial_with_grouped_queries_by_choice():
    config = network(depth=6, n_kv_heads=2)
    assert config.model_dump(include=set(sizes_of_depth(6))) == {**sizes_of_depth(6), "n_kv_heads": 2}
    assert config.tie_embeddings


def test_width_and_layers_alone_get_the_usual_proportions():
    config = network(hidden_size=256, n_layers=3)
    assert config.model_dump(include=set(sizes_of_width(256, 3))) == dict(sizes_of_width(256, 3))
    config = network(hidden_size=96, n_layers=3, n_heads=4, intermediate_size=100)
    assert (config.n_heads, config.n_kv_heads, config.head_size, config.intermediate_size) == (4, 4, 24, 100)


def test_yarn_can_be_said():
    scaling = {"type": "yarn", "factor": 4, "original_max_seq_len": 32}
    assert network(depth=2, rope_scaling=scaling).rope_scaling.attention_scale == pytest.approx(1.1386294)


def test_an_lstm_has_width_and_layers():
    config = Shape(architecture="lstm", hidden_size=64, n_layers=1).network(1000, 128)
    assert config == LSTMConfig(vocab_size=1000, hidden_size=64, n_layers=1, max_seq_len=128, tie_embeddings=True)


def test_what_is_written_down_is_read_again():
    for shape in (Shape(), Shape(preset="10m", qk_norm=True), Shape(depth=3), Shape(hidden_size=64, n_layers=2)):
        assert Shape.model_validate(shape.model_dump()) == shape
        assert Shape.model_validate_json(shape.model_dump_json()) == shape


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"preset": "125m", "depth": 12}, "give one of them, not preset, depth"),
        ({"preset": "125m", "hidden_size": 64}, "give one of them, not preset, hidden_size"),
        ({"depth": 2, "head_dim": 64}, "give one of them, not depth, head_dim"),
        ({"n_layers": 3}, "sizes need hidden_size and n_layers; given: n_layers"),
        ({"preset": "2m"}, "'1m', '3m'"),
        ({"architecture": "lstm", "depth": 2}, "not depth"),
        ({"architecture": "lstm", "hidden_size": 8, "n_layers": 1, "n_heads": 2}, "not n_heads"),
        ({"architecture": "lstm", "qk_norm": True}, "not qk_norm"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "'yarn', 'llama3'"),
    ],
)
def test_mistakes_are_told_in_one_line(said, message):
    with pytest.raises(ValidationError, match=message) as caught:
        Shape(**said)
    assert len(caught.value.errors()) == 1
    assert "\n" not in caught.value.errors()[0]["msg"]


def test_sizes_that_do_not_fit_are_the_stages_own_error():
    with pytest.raises(BadConfig, match="multiple of n_heads"):
        shape_of(PretrainParams(shape=Shape(hidden_size=100, n_layers=2, n_heads=3)), 1000)
    with pytest.raises(BadConfig, match="qk_norm"):
        shape_of(PretrainParams(shape=Shape(depth=2, qk_norm=True, attention_bias=True)), 1000)


def test_masked_tokens_make_a_network_that_reads_both_ways():
    params = PretrainParams(shape=Shape(depth=2), objective="masked")
    assert shape_of(params, 1000).causal is False
    assert shape_of(PretrainParams(shape=Shape(depth=2)), 1000).causal is True
    with pytest.raises(ValidationError, match="reads forwards only"):
        PretrainParams(shape=Shape(architecture="lstm"), objective="masked")


class ConfigFile(Params):
    shape: Shape
    causal: bool


def _write_config(params: ConfigFile, out: Draft) -> None:
    config = params.shape.network(1000, 128, params.causal)
    out.path("model/config.json").write_text(json.dumps(config.to_hf()), encoding="utf-8")
    out.count("models", 1, out=1)


@pytest.mark.parametrize(
    ("shape", "causal", "message"),
    [
        (Shape(depth=1), False, "trained on masked tokens"),
        (Shape(architecture="lstm", hidden_size=8, n_layers=1), True, "an LSTM"),
        (Shape(depth=1), True, None),
    ],
)
def test_only_what_writes_text_is_trained_further_as_a_chat_model(store, shape, causal, message):
    make = Stage(_write_config, name="pretrain", version=0, libraries=(), tables={}, one_to_one=False, fingerprint=None)
    made = make.run(store, params=ConfigFile(shape=shape, causal=causal))
    model = Model(store, made.manifest)
    if message is None:
        assert model_config(model) == shape.network(1000, 128).model_copy(update={"head_dim": 32})
        return
    with pytest.raises(BadInput, match=message):
        model_config(model)
