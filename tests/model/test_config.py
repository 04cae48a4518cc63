"""The shape of the network: checks, counts, and the translation to and from config.json."""

import pytest
from pydantic import ValidationError
from transformers import AutoConfig, LlamaConfig, Qwen2Config, Qwen3Config

from model.config import ModelConfig
from model.rope_scaling import Llama3Scaling, YarnScaling
from model.transformer import Transformer

SMALL = ModelConfig(
    vocab_size=101, hidden_size=48, n_layers=3, n_heads=6, n_kv_heads=2, intermediate_size=80, max_seq_len=64
)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_embeddings": True}, {"qk_norm": True}, {"n_kv_heads": 6, "head_dim": 16}, {"attention_bias": True}],
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
        ({"n_heads": 9, "n_kv_heads": 3, "head_dim": 8}, "not a multiple of n_heads 9"),
        ({"qk_norm": True, "attention_bias": True}, "qk_norm .* and attention_bias"),
        ({"rope_scaling": {"type": "ntk", "factor": 2}}, "'yarn', 'llama3'"),
        ({"rope_scaling": {"type": "yarn", "factor": 0.5, "original_max_seq_len": 8}}, "factor"),
        ({"rope_scaling": {"type": "yarn", "factor": 2, "original_max_seq_len": 8, "beta_fast": 1}}, "beta_fast 1.0"),
        ({"rope_scaling": {"type": "llama3", "low_freq_factor": 4}}, "high_freq_factor 4.0"),
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


YARN = YarnScaling(factor=4, original_max_seq_len=16, attention_factor=1.5, truncate=False)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_embeddings": True, "rope_theta": 500_000.0},
        {"qk_norm": True, "head_dim": 32},
        {"attention_bias": True, "rope_scaling": YarnScaling(factor=4, original_max_seq_len=16)},
        {"rope_scaling": YARN, "rope_theta": 1e6},
        {"rope_scaling": Llama3Scaling(factor=4, original_max_seq_len=16)},
        {"causal": False},
    ],
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


@pytest.mark.parametrize("config", [LlamaConfig(), Qwen2Config(), Qwen3Config()])
def test_we_read_what_transformers_writes(config):
    ours = ModelConfig.from_hf(config.to_dict() | {"architectures": None})
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    assert ours.n_heads * ours.head_size == config.num_attention_heads * head_size
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
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "lacks high_freq_factor, low_freq_factor"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 8.0}}, "dynamic"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 8.0, "ramp": "cubic"}}, "ramp"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "differ by layer type"),
        ({"partial_rotary_factor": 0.25}, "partial_rotary_factor"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"sliding_window": 4096}, "sliding_window"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"model_type": "mixtral"}, "mixtral"),
        ({"num_local_experts": 8}, "num_local_experts"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"residual_multiplier": 0.22}, "residual_multiplier"),
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


LLAMA_3_1 = {  # rope_scaling of meta-llama/Llama-3.1-8B's config.json
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


def test_older_config_names_its_scaling_at_the_top():
    older = {key: value for key, value in SMALL.to_hf().items() if key != "rope_parameters"}
    read = ModelConfig.from_hf({**older, "rope_theta": 500_000.0, "rope_scaling": LLAMA_3_1})
    assert (read.rope_theta, read.rope_scaling) == (500_000.0, Llama3Scaling())


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"factor": 4.0}, YarnScaling(factor=4, original_max_seq_len=64)),
        ({"original_max_position_embeddings": 16}, YarnScaling(factor=4, original_max_seq_len=16)),
        ({"factor": 2, "beta_fast": None}, YarnScaling(factor=2, original_max_seq_len=64)),
    ],
)
def test_what_yarn_leaves_out_is_as_transformers_fills_it_in(rope, expected):
    config = {**SMALL.to_hf(), "rope_parameters": {"rope_type": "yarn", **rope}}
    assert ModelConfig.from_hf(config).rope_scaling == expected


def test_deepseeks_mscale_becomes_the_attention_factor():
    rope = {"rope_type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.707}
    read = ModelConfig.from_hf({**SMALL.to_hf(), "rope_parameters": rope}).rope_scaling
    assert read.attention_scale == pytest.approx(1.3688879 / 1.2608038, rel=1e-6)


def test_qwen2s_window_that_is_switched_off_means_nothing():
    config = SMALL.model_copy(update={"attention_bias": True}).to_hf()
    read = ModelConfig.from_hf({**config, "sliding_window": 32768, "max_window_layers": 28})
    assert read.attention_bias and read.n_layers == 3
