"""The shape of the network: checks, counts, and the translation to and from config.json."""

import pytest
from pydantic import ValidationError
from transformers import AutoConfig, LlamaConfig, Qwen3Config

from model.config import ModelConfig
from model.transformer import Transformer

SMALL = ModelConfig(
    vocab_size=101, hidden_size=48, n_layers=3, n_heads=6, n_kv_heads=2, intermediate_size=80, max_seq_len=64
)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_embeddings": True}, {"qk_norm": True}, {"n_kv_heads": 6, "head_dim": 16}],
)
def test_n_params_counts_every_parameter_once(changes):
    config = SMALL.model_copy(update=changes)
    assert config.n_params == sum(p.numel() for p in Transformer(config).parameters())


def test_matmul_params_leave_out_lookup_and_norms():
    model = Transformer(SMALL)
    others = [p for name, p in model.named_parameters() if "norm" in name or "embed" in name]
    assert SMALL.n_params - SMALL.n_matmul_params == sum(p.numel() for p in others)


def test_flops_per_token_is_palms_formula():
    # Worked by hand: N = 3 layers x (48*48*2 + 48*16*2 + 3*48*80) + 101*48.
    matmul = 3 * (4608 + 1536 + 11520) + 4848
    assert SMALL.flops_per_token(32) == 6 * matmul + 12 * 3 * 6 * 8 * 32
    assert SMALL.flops_per_token() == 6 * matmul + 12 * 3 * 6 * 8 * 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 5}, "not a multiple of n_heads 5"),
        ({"n_kv_heads": 4}, "not a multiple of n_kv_heads 4"),
        ({"head_dim": 7}, "make it even"),
        ({"n_layers": 0}, "n_layers"),
        ({"rope_theta": -1.0}, "rope_theta"),
        ({"n_head": 4}, "n_head"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**{**SMALL.model_dump(), **changes})


@pytest.mark.parametrize(
    "changes", [{}, {"tie_embeddings": True, "rope_theta": 500_000.0}, {"qk_norm": True, "head_dim": 32}]
)
def test_config_json_round_trips(changes):
    config = ModelConfig(**{**SMALL.model_dump(), "head_dim": 8, **changes})
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_transformers_reads_what_we_write():
    written = SMALL.model_copy(update={"rope_theta": 12_345.0}).to_hf()
    read = AutoConfig.for_model(**{key: value for key, value in written.items() if key != "architectures"})
    assert isinstance(read, LlamaConfig)
    assert read.rope_parameters == {"rope_type": "default", "rope_theta": 12_345.0}
    assert (read.head_dim, read.num_key_value_heads, read.max_position_embeddings) == (8, 2, 64)


@pytest.mark.parametrize("config", [LlamaConfig(), Qwen3Config()])
def test_we_read_what_transformers_writes(config):
    ours = ModelConfig.from_hf(config.to_dict() | {"architectures": None})
    assert ours.n_heads * ours.head_size == config.num_attention_heads * config.head_dim
    assert (ours.vocab_size, ours.norm_eps, ours.rope_theta) == (config.vocab_size, config.rms_norm_eps, 10_000.0)


def test_older_config_names_theta_at_the_top():
    older = {key: value for key, value in SMALL.to_hf().items() if key not in ("rope_parameters", "head_dim")}
    assert ModelConfig.from_hf({**older, "rope_theta": 250_000, "rope_scaling": None}).rope_theta == 250_000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5}}, "llama3"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ],
)
def test_other_maths_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        ModelConfig.from_hf({**SMALL.to_hf(), **changes})
    assert "\n" not in str(caught.value)


def test_missing_key_is_named():
    config = SMALL.to_hf()
    del config["intermediate_size"]
    with pytest.raises(ValueError, match="intermediate_size"):
        ModelConfig.from_hf(config)
