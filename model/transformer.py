"""The network: a transformer of the Llama family, written for speed on CPUs and exactness against Llama.

    tokens [B, T] -> embedding -> n_layers x (RMSNorm, attention, +, RMSNorm, SwiGLU, +) -> RMSNorm -> hidden [B, T, H]

Parameter names and maths are those of Hugging Face's `LlamaForCausalLM` (`Qwen2ForCausalLM` with biases,
`Qwen3ForCausalLM` with QK-norm), so a state dict is an export. Everything that costs runs through `forward`, the loss
included: DeepSpeed hooks that one call.
"""

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.attention import Visible, attention
from model.config import ModelConfig
from model.losses import IGNORE_INDEX, linear_cross_entropy, linear_nll
from model.precision import compute_dtype
from model.rope import rope_table, rotate
from model.rope_scaling import RopeScaling


class Cache(Protocol):
    """What attention needs of a KV cache (see `model.generate.KVCache`)."""

    def update(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values [B, T, n_kv_heads, D] at `positions` [B, T]; return all, [B, S, n_kv_heads, D]."""
        ...

    def mask(self, positions: Tensor) -> Tensor:
        """Bool [B, 1, T, S]: slots that a query at each position may see."""
        ...


class Linear(nn.Linear):
    """A projection, left as allocated: `Transformer.reset_parameters` draws all weights, once."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias=bias)

    def reset_parameters(self) -> None:
        """Nothing: torch would draw from the global generator here."""


class Embedding(nn.Embedding):
    """A lookup table, left as allocated."""

    def reset_parameters(self) -> None:
        """Nothing, as for `Linear`."""


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, in fp32 inside (Zhang & Sennrich 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        dtype = compute_dtype(x)
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            result: Tensor = _RMSNorm.apply(x, self.weight, self.eps, dtype)
            return result
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(dtype)


class _RMSNorm(torch.autograd.Function):
    """torch has no fused RMSNorm on CPUs; this takes half the time of its composite.

    Backward is torch's kernel for LayerNorm, told that the mean is 0, plus the term that it takes off for the mean.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.float()
        scale = wide.square().mean(dim=-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        size = x.shape[-1]
        grad, wide, gain = grads[0].float(), x.float(), weight.float()
        grad_x, grad_weight, _ = torch.ops.aten.native_layer_norm_backward(
            grad, wide, [size], torch.zeros_like(scale), scale, gain, None, [True, True, False]
        )
        with torch.autocast(x.device.type, enabled=False):  # which would take the sum over a row in bf16
            grad_x.addcmul_((grad @ gain).div_(size).unsqueeze(-1), scale)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), None, None


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions (Ainslie et al. 2023; Su et al. 2021)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_heads, self.n_kv_heads, self.head_size = config.n_heads, config.n_kv_heads, config.head_size
        self.q_proj = Linear(config.hidden_size, self.n_heads * self.head_size, config.attention_bias)
        self.k_proj = Linear(config.hidden_size, self.n_kv_heads * self.head_size, config.attention_bias)
        self.v_proj = Linear(config.hidden_size, self.n_kv_heads * self.head_size, config.attention_bias)
        self.o_proj = Linear(self.n_heads * self.head_size, config.hidden_size)
        if config.qk_norm:
            self.q_norm = RMSNorm(self.head_size, config.norm_eps)
            self.k_norm = RMSNorm(self.head_size, config.norm_eps)
        self.qk_norm, self.causal = config.qk_norm, config.causal
        self.attend = attention  # replaced where ranks share rows (model/ulysses.py)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        visible: Visible | None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, self.n_heads, self.head_size)
        k = self.k_proj(x).view(batch, length, self.n_kv_heads, self.head_size)
        v = self.v_proj(x).view(batch, length, self.n_kv_heads, self.head_size)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, *rope), rotate(k, *rope)
        if cache is not None:
            assert positions is not None
            k, v = cache.update(self.layer, k, v, positions)
        return self.o_proj(self.attend(q, k, v, visible, self.causal).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)) (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One pre-norm layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        visible: Visible | None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, visible, positions, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """The stack under the name `model`, as Hugging Face nests it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)


class Head(Linear):
    """The output projection. Losses go through its `forward`: ZeRO-3 has gathered the weight when it is read there."""

    def forward(
        self, hidden: Tensor, labels: Tensor | None = None, reduction: str = "logits", z_loss: float = 0.0
    ) -> Any:
        """Logits [..., V] fp32; with `labels` what `Transformer.forward` says of `reduction` and `z_loss`."""
        if labels is None:
            return F.linear(hidden, self.weight).float()
        if reduction == "none":
            return linear_nll(hidden, self.weight, labels)
        total, z_term = linear_cross_entropy(hidden, self.weight, labels, z_loss)
        count = (labels != IGNORE_INDEX).sum()
        return (total, count, z_term) if z_loss else (total, count)


class Transformer(nn.Module):
    """A Llama-shaped language model. Weights are drawn from `seed` alone, whatever the global generator's state."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = Head(config.hidden_size, config.vocab_size)
        self.tie()
        # Not a buffer: `module.bfloat16()` would round the angles, and a state dict is to hold parameters only.
        self._rope: tuple[Tensor, Tensor] | None = None
        self.checkpoint_activations = False
        """Keep only each block's input for the backward pass, and compute the rest of it again (Chen et al. 2016)."""
        if not self.lm_head.weight.is_meta:
            self.reset_parameters(torch.Generator().manual_seed(seed))

    def compile_blocks(self) -> None:
        """torch.compile each block, in place. All are one program; loss and head stay as they are, made of slices."""
        for block in self.model.layers:
            block.compile()

    def stretch(self, max_seq_len: int, rope_theta: float | None = None, scaling: RopeScaling | None = None) -> None:
        """Take sequences of `max_seq_len` from now on, by another base, another scaling, or neither.

        What is not given stays as it is. The weights do not change; training on longer sequences has to follow.
        """
        changes: dict[str, Any] = {"max_seq_len": max_seq_len}
        if rope_theta is not None:
            changes["rope_theta"] = rope_theta
        if scaling is not None:
            changes["rope_scaling"] = scaling
        self.config = ModelConfig(**{**self.config.model_dump(), **changes})
        self._rope = None

    def tie(self) -> None:
        """Make the head the embedding matrix itself, where the configuration says so."""
        if self.config.tie_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """N(0, init_std); the two projections into the residual stream / sqrt(2 n_layers) (GPT-2, section 2.3).

        Norms begin at 1, biases at 0.
        """
        residual_std = self.config.init_std / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                nn.init.constant_(parameter, 0.0 if name.endswith(".bias") else 1.0)
            else:
                std = residual_std if name.endswith(("o_proj.weight", "down_proj.weight")) else self.config.init_std
                nn.init.normal_(parameter, std=std, generator=generator)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        cache: Cache | None = None,
        labels: Tensor | None = None,
        reduction: str = "sum",
        z_loss: float = 0.0,
    ) -> Any:
        """Hidden states after the last norm, or, with `labels`, the loss.

        tokens [B, T] int64; positions [B, T], default 0..T-1 in each row (RoPE is relative: restarting them at a
        document's start changes nothing); document_ids [B, T]: attention stays inside runs of equal ids.
        labels [B, T]: the token to predict at each position, already shifted, `IGNORE_INDEX` (-100) where none.
        z_loss: weight of log(Z)^2 at each label, Z the softmax's normaliser (PaLM, section 5); reduction "sum" only.

        Returns hidden [B, T, H]; with labels and reduction "sum": (summed nll in nats, fp32 scalar; number of labels,
        int64 scalar), and with a z_loss (nll and z-term together, labels, the z-term alone and without gradient);
        with reduction "none": nll [B, T] fp32, 0 where ignored.
        Raises `ValueError` when T exceeds `max_seq_len`.
        """
        length = tokens.shape[1]
        if length > self.config.max_seq_len:
            raise ValueError(f"a sequence of {length} tokens exceeds max_seq_len {self.config.max_seq_len}")
        x = self.model.embed_tokens(tokens)
        visible = None
        if cache is not None:
            assert positions is not None
            visible = Visible(cache.mask(positions))
        elif document_ids is not None:
            visible = Visible.documents(document_ids, self.config.causal, compute_dtype(x), self.config.head_size)
        rope = self.rope(positions, length, x.device)
        for block in self.model.layers:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, rope, visible, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, rope, visible, positions, cache)
        hidden = self.model.norm(x)
        return hidden if labels is None else self.lm_head(hidden, labels, reduction, z_loss)

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 logits [..., V] of hidden states [..., H]."""
        return self.lm_head(hidden)

    def loss(
        self,
        tokens: Tensor,
        labels: Tensor,
        loss_mask: Tensor | None = None,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(summed nll in nats, number of labels); `loss_mask` [B, T] bool or 0/1: labels to count, besides -100."""
        if loss_mask is not None:
            labels = labels.masked_fill(~loss_mask.bool(), IGNORE_INDEX)
        total, count = self(tokens, positions, document_ids, labels=labels, reduction="sum")
        return total, count

    def rope(self, positions: Tensor | None, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos and sin for `rotate`, [1 or B, T, n_heads * D] fp32, at `positions` or at 0..length-1."""
        if self._rope is None or self._rope[0].device != device:
            with torch.inference_mode(False):  # A table made while generating must serve training too.
                config = self.config
                cos, sin = rope_table(config.head_size, config.max_seq_len, config.rope_theta, config.rope_scaling)
                self._rope = cos.to(device), sin.to(device)
        where = torch.arange(length, device=device)[None] if positions is None else positions
        cos, sin = (table[where].repeat(1, 1, self.config.n_heads) for table in self._rope)
        return cos, sin
