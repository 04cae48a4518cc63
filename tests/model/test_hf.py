"""Hugging Face folders: exact both ways, equal bytes for equal weights, one line for what is refused."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from model.config import ModelConfig
from model.hf import inspect_folder, load_hf, save_hf
from model.rope_scaling import Llama3Scaling, YarnScaling
from model.transformer import Transformer


def config_of(**changes) -> ModelConfig:
    sizes = {
        "vocab_size": 97,
        "hidden_size": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "intermediate_size": 48,
        "max_seq_len": 64,
        "init_std": 0.3,
    }
    return ModelConfig(**{**sizes, **changes})


TOKENS = torch.randint(97, (2, 30), generator=torch.Generator().manual_seed(0))
VARIANTS = [
    {},
    {"tie_embeddings": True, "rope_theta": 500_000.0},
    {"qk_norm": True, "head_dim": 16},
    {"attention_bias": True, "rope_scaling": YarnScaling(factor=4, original_max_seq_len=16)},
    {"rope_scaling": Llama3Scaling(original_max_seq_len=16), "rope_theta": 500_000.0},
]


def model_of(**changes) -> Transformer:
    """A network whose norms and biases are not what they start as."""
    model = Transformer(config_of(**changes), seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


@pytest.mark.parametrize("changes", VARIANTS)
def test_exported_model_gives_our_logits_in_transformers(tmp_path, changes):
    model = model_of(**changes)
    save_hf(model, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    kinds = {"qk_norm": Qwen3ForCausalLM, "attention_bias": Qwen2ForCausalLM}
    assert type(theirs) is next((kind for name, kind in kinds.items() if name in changes), LlamaForCausalLM)
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        difference = (model.logits(model(TOKENS)) - expected).abs().max()
    assert difference <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("changes", VARIANTS)
def test_loading_what_transformers_saved_gives_its_logits(tmp_path, changes):
    save_hf(model_of(**changes), tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    model = load_hf(tmp_path / "theirs")
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        difference = (model.logits(model(TOKENS)) - expected).abs().max()
    assert difference <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": True, "attention_bias": True}])
def test_weights_in_several_files_are_read(tmp_path, changes):
    model = model_of(**changes)
    save_hf(model, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert not (tmp_path / "sharded" / "model.safetensors").exists()
    read = load_hf(tmp_path / "sharded").state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", VARIANTS)
def test_round_trip_is_byte_equal(tmp_path, changes, dtype):
    save_hf(Transformer(config_of(**changes), seed=1), tmp_path / "first", dtype=dtype, eos_token_id=5)
    save_hf(load_hf(tmp_path / "first"), tmp_path / "second", dtype=dtype, eos_token_id=5)
    for file in sorted((tmp_path / "first").iterdir()):
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


def test_file_holds_the_asked_dtype_and_a_tied_head_once(tmp_path):
    save_hf(Transformer(config_of(tie_embeddings=True)), tmp_path, dtype=torch.bfloat16)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert file.get_tensor("model.norm.weight").dtype == torch.bfloat16
    assert "lm_head.weight" not in names
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    model = load_hf(tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_token_ids_travel_along(tmp_path):
    save_hf(Transformer(config_of()), tmp_path / "m", eos_token_id=[90, 92], pad_token_id=93)
    generation = GenerationConfig.from_pretrained(tmp_path / "m")
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (None, [90, 92], 93)
    config = LlamaConfig.from_pretrained(tmp_path / "m")
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (None, [90, 92], 93)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_may_be_given_apart_from_the_model(tmp_path, tied):
    """As under ZeRO-3, where the model's own are in pieces."""
    model = Transformer(config_of(tie_embeddings=tied), seed=1)
    save_hf(model, tmp_path / "whole")
    save_hf(Transformer(config_of(tie_embeddings=tied)), tmp_path / "given", weights=dict(model.named_parameters()))
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "given"))
    assert one == other


def test_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="float16"):
        save_hf(Transformer(config_of()), tmp_path, dtype=torch.float16)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt_neox"}, "gpt_neox"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "longrope"),
        ({"num_key_value_heads": 3}, "n_kv_heads 3"),
    ],
)
def test_other_maths_is_refused_naming_file_and_reason(tmp_path, changes, message):
    save_hf(Transformer(config_of()), tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_hf(tmp_path)
    assert "config.json" in str(caught.value) and "\n" not in str(caught.value)


def test_tensors_that_are_missing_unknown_or_of_another_shape_are_named(tmp_path):
    save_hf(Transformer(config_of()), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    gate = "model.layers.1.mlp.gate_proj.weight"
    for changed in (
        {name: tensor for name, tensor in weights.items() if name != gate},
        {**weights, gate: torch.zeros(2, 3)},
        {**weights, "model.layers.1.mlp.gate_proj.bias": torch.zeros(48)},
    ):
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=r"model\.layers\.1\.mlp\.gate_proj"):
            load_hf(tmp_path)


def test_a_tied_head_that_is_another_matrix_is_refused(tmp_path):
    save_hf(Transformer(config_of()), tmp_path)
    edit_config(tmp_path, tie_word_embeddings=True)
    for read in (load_hf, inspect_folder):
        with pytest.raises(ValueError, match=r"ties the head to the embedding, but lm_head\.weight is another"):
            read(tmp_path)


@pytest.mark.parametrize(("dtype", "shard"), [(torch.bfloat16, "1GB"), (torch.float32, "20KB")])
def test_a_folder_is_inspected_without_loading_it(tmp_path, dtype, shard):
    save_hf(Transformer(config_of(tie_embeddings=True)), tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=dtype)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=shard)
    found = inspect_folder(tmp_path / "theirs")
    assert found.config == load_hf(tmp_path / "theirs").config
    assert (found.dtypes, found.derived) == ((str(dtype).removeprefix("torch."),), 0)
    assert found.tensors == len(list(theirs.parameters()))


def test_missing_files_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_hf(tmp_path)
    save_hf(Transformer(config_of()), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_hf(tmp_path)


def test_index_may_not_point_outside_its_folder(tmp_path):
    save_hf(Transformer(config_of()), tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="not a file of this folder"):
        load_hf(tmp_path / "m")
