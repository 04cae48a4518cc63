"""The network against transformers' Llama and Qwen3: logits, loss, gradients; masks; initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from model.config import ModelConfig
from model.losses import IGNORE_INDEX, next_token_labels
from model.rope_scaling import YarnScaling
from model.transformer import RMSNorm, Transformer

SHAPES = {
    "grouped": {"n_heads": 4, "n_kv_heads": 2},
    "multi_query_tied": {"n_heads": 4, "n_kv_heads": 1, "tie_embeddings": True},
    "multi_head_theta": {"n_heads": 2, "n_kv_heads": 2, "rope_theta": 500_000.0, "norm_eps": 1e-3},
    "odd_sizes": {"hidden_size": 42, "n_heads": 3, "n_kv_heads": 3, "intermediate_size": 61, "head_dim": 10},
    "qk_norm": {"n_heads": 4, "n_kv_heads": 2, "qk_norm": True, "head_dim": 12},
}


def config_of(**changes) -> ModelConfig:
    sizes = {
        "vocab_size": 211,
        "hidden_size": 32,
        "n_layers": 3,
        "n_heads": 4,
        "n_kv_heads": 2,
        "intermediate_size": 72,
        "max_seq_len": 64,
        # Large weights: at 0.02 a tiny network is nearly linear and hides mistakes.
        "init_std": 0.3,
    }
    return ModelConfig(**{**sizes, **changes})


def model_of(config: ModelConfig, seed: int = 0) -> Transformer:
    """A network whose norms are not all ones."""
    model = Transformer(config, seed=seed)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


def reference_of(model: Transformer) -> torch.nn.Module:
    """transformers' model with the same weights."""
    settings = {k: v for k, v in model.config.to_hf().items() if k not in ("architectures", "model_type")}
    if model.config.qk_norm:
        reference = Qwen3ForCausalLM(Qwen3Config(**settings))
    else:
        reference = LlamaForCausalLM(LlamaConfig(**settings))
    reference.load_state_dict(model.state_dict())
    return reference


def tokens_of(config: ModelConfig, rows: int = 3, length: int = 40, seed: int = 2) -> torch.Tensor:
    return torch.randint(config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_llamas(shape):
    model = model_of(config_of(**SHAPES[shape]))
    tokens = tokens_of(model.config)
    with torch.no_grad():
        ours, theirs = model.logits(model(tokens)), reference_of(model)(tokens).logits
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_are_llamas(shape):
    model = model_of(config_of(**SHAPES[shape]))
    reference = reference_of(model).double()  # in fp32 its own rounding is up to three times ours
    tokens = tokens_of(model.config)
    labels = tokens.clone()
    labels[0, :7] = IGNORE_INDEX
    expected = reference(tokens, labels=labels).loss
    expected.backward()
    total, count = model.loss(tokens, next_token_labels(labels))
    (total / count).backward()
    assert total.item() / count.item() == pytest.approx(expected.item(), rel=1e-5)
    theirs = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        exact = theirs[name].grad
        assert (parameter.grad.double() - exact).norm() <= 1e-5 * exact.norm(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_norm_is_that_of_torch_in_values_and_gradients_whatever_is_autocast(dtype, autocast):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 48, generator=generator).to(dtype).requires_grad_()
    norm = RMSNorm(48, 1e-5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5, generator=generator)
    exact_x, exact_weight = (one.detach().double().requires_grad_() for one in (x, norm.weight))
    expected = F.rms_norm(exact_x, (48,), exact_weight, 1e-5)
    upstream = torch.randn(3, 5, 48, generator=generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = norm(x)
        assert found.dtype == (torch.bfloat16 if autocast else dtype)
        upstream = upstream.to(found.dtype)
        gradients = torch.autograd.grad(found, (x, norm.weight), upstream)
    wanted = torch.autograd.grad(expected, (exact_x, exact_weight), upstream.double())
    narrow = 0.004  # half a step of bf16
    assert (found.double() - expected).norm() <= (narrow if found.dtype == torch.bfloat16 else 1e-6) * expected.norm()
    for one, exact in zip(gradients, wanted, strict=True):
        assert (one.double() - exact).norm() <= (narrow if one.dtype == torch.bfloat16 else 1e-6) * exact.norm()


def test_reduction_none_gives_the_terms_of_the_sum_and_their_gradients():
    model = model_of(config_of())
    tokens = tokens_of(model.config)
    labels = next_token_labels(tokens)
    labels[1, 3:9] = IGNORE_INDEX
    total, count = model(tokens, labels=labels)
    total.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    terms = model(tokens, labels=labels, reduction="none")
    assert terms.shape == tokens.shape
    assert (terms[labels == IGNORE_INDEX] == 0).all() and (terms > 0).sum() == count
    terms.sum().backward()
    assert terms.sum().item() == pytest.approx(total.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)


def test_loss_mask_leaves_labels_out():
    model = model_of(config_of())
    tokens = tokens_of(model.config)
    keep = torch.zeros_like(tokens)
    keep[:, 5:9] = 1
    total, count = model.loss(tokens, next_token_labels(tokens), loss_mask=keep)
    terms = model(tokens, labels=next_token_labels(tokens), reduction="none")
    assert count == 12
    assert total.item() == pytest.approx(terms[:, 5:9].sum().item(), rel=1e-6)


def test_loss_of_no_labels_is_zero_and_still_has_gradients():
    model = model_of(config_of())
    tokens = tokens_of(model.config)
    total, count = model.loss(tokens, torch.full_like(tokens, IGNORE_INDEX))
    total.backward()
    assert (total, count) == (0, 0)
    assert all((p.grad == 0).all() for p in model.parameters())


def test_state_dict_keys_are_llamas():
    model = model_of(config_of(n_layers=1))
    assert sorted(model.state_dict()) == [
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.v_proj.weight",
        "model.norm.weight",
    ]


def test_packed_documents_are_as_if_alone():
    model = model_of(config_of())
    row = tokens_of(model.config, rows=1, length=40)
    ids = torch.tensor([[0] * 11 + [1] * 1 + [2] * 28])
    packed = model(row, document_ids=ids)
    for start, end in ((0, 11), (11, 12), (12, 40)):
        alone = model(row[:, start:end])
        torch.testing.assert_close(packed[:, start:end], alone, rtol=1e-4, atol=1e-4)


def test_a_later_token_never_changes_an_earlier_state():
    model = model_of(config_of())
    tokens = tokens_of(model.config)
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % model.config.vocab_size
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


def test_positions_are_relative():
    model = model_of(config_of())
    tokens = tokens_of(model.config, length=20)
    shifted = torch.arange(20).expand_as(tokens) + 30
    torch.testing.assert_close(model(tokens), model(tokens, positions=shifted), rtol=1e-3, atol=1e-4)


def test_too_long_a_sequence_is_refused():
    model = model_of(config_of())
    with pytest.raises(ValueError, match="65 tokens exceeds max_seq_len 64"):
        model(torch.zeros(1, 65, dtype=torch.long))


def test_seed_alone_decides_the_weights():
    torch.manual_seed(5)
    first = Transformer(config_of(), seed=3).state_dict()
    torch.manual_seed(6)
    state = torch.random.get_rng_state()
    second = Transformer(config_of(), seed=3).state_dict()
    other = Transformer(config_of(), seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_start_with_the_stated_spread():
    config = config_of(hidden_size=128, intermediate_size=256, n_layers=2, init_std=0.02)
    model = Transformer(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            assert (parameter == 1).all()
            continue
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        assert parameter.std().item() == pytest.approx(0.02 / (math.sqrt(4) if residual else 1), rel=0.05), name


def test_untrained_loss_is_that_of_a_uniform_guess():
    model = Transformer(config_of(init_std=0.02))
    tokens = tokens_of(model.config)
    total, count = model.loss(tokens, next_token_labels(tokens))
    assert total.item() / count.item() == pytest.approx(math.log(211), abs=0.05)


def test_autocast_stays_near_fp32():
    model = model_of(config_of(init_std=0.1))
    tokens = tokens_of(model.config)
    labels = next_token_labels(tokens)
    exact, _ = model.loss(tokens, labels)
    exact.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = model.loss(tokens, labels)
    rounded.backward()
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)
    for name, parameter in model.named_parameters():
        cosine = torch.cosine_similarity(parameter.grad.flatten(), expected[name].flatten(), dim=0)
        assert cosine > 0.99, name


def test_bfloat16_weights_run_forward_and_backward():
    model = model_of(config_of(init_std=0.1)).bfloat16()
    tokens = tokens_of(model.config)
    total, _ = model.loss(tokens, next_token_labels(tokens))
    total.backward()
    assert total.dtype == torch.float32
    assert all(p.grad.dtype == torch.bfloat16 for p in model.parameters())


def test_generating_first_leaves_training_possible():
    model = model_of(config_of())
    tokens = tokens_of(model.config)
    with torch.inference_mode():
        model(tokens)
    total, _ = model.loss(tokens, next_token_labels(tokens))
    total.backward()
    assert model.lm_head.weight.grad is not None


def test_checkpointing_keeps_block_inputs_only_and_changes_no_gradient():
    tokens = tokens_of(config_of(), rows=2, length=64)
    ids = torch.arange(64).expand(2, -1) // 30
    found = []
    for checkpointed in (False, True):
        model = model_of(config_of(n_layers=6))
        model.checkpoint_activations = checkpointed
        kept = 0

        def keep(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            total, _ = model(tokens, document_ids=ids, labels=next_token_labels(tokens))
        total.backward()
        found.append((kept, total.item(), {name: p.grad for name, p in model.named_parameters()}))
    (all_kept, plain, grads), (few_kept, checkpointed, again) = found
    assert few_kept < all_kept / 5
    assert plain == checkpointed
    assert all(torch.equal(grads[name], again[name]) for name in grads)


def test_a_stretched_network_is_one_of_that_configuration():
    model = model_of(config_of())
    tokens = tokens_of(model.config, length=64)
    model(tokens)  # the old table exists by now
    scaling = YarnScaling(factor=2, original_max_seq_len=64)
    model.stretch(128, rope_theta=500_000.0, scaling=scaling)
    expected = model_of(config_of(max_seq_len=128, rope_theta=500_000.0, rope_scaling=scaling))
    longer = tokens_of(model.config, length=128)
    assert model.config == expected.config
    assert torch.equal(model(longer), expected(longer))
    model.stretch(192)
    assert (model.config.max_seq_len, model.config.rope_scaling) == (192, scaling)
    with pytest.raises(ValueError, match="max_seq_len"):
        model.stretch(0)


def test_biases_start_at_zero_and_are_counted():
    model = Transformer(config_of(attention_bias=True))
    biases = [name for name, p in model.named_parameters() if name.endswith(".bias") and not p.any()]
    assert len(biases) == 3 * 3
    assert model.config.n_params == sum(p.numel() for p in model.parameters())
