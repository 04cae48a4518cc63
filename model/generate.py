"""Text from a model: batched decoding with a KV cache.

Prompts of different lengths are left-aligned: row b has its prompt at positions 0..n_b - 1 and continues at n_b, so
every token has the position it would have alone. In the cache a slot *is* a position; a query sees the slots up to its
own. What padding wrote behind a short prompt is overwritten before any query gets that far, hence no padding mask, and
a batch gives what single prompts give, up to the rounding of larger matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from model.transformer import Transformer

FinishReason = Literal["stop", "length"]


class SamplingConfig(BaseModel):
    """How the next token is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_new_tokens: int = Field(256, ge=1, description="Tokens to write at most.")
    temperature: float = Field(0.0, ge=0, description="0 is greedy; 1 samples from the model's own distribution.")
    top_k: int | None = Field(None, ge=1, description="Sample from the k likeliest tokens only.")
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Sample from the smallest set of tokens that holds this probability (Holtzman 2020).",
    )


@dataclass(frozen=True)
class Completion:
    """What was written after one prompt. The stop token, where there is one, is the last of `tokens`."""

    tokens: list[int]
    log_probs: list[float]
    """Nats, of each token under the model itself: temperature 1, nothing cut."""
    finish_reason: FinishReason


class KVCache:
    """Keys and values of all layers, [B, slots, n_kv_heads, head_size] each; slot s holds position s."""

    def __init__(self, model: Transformer, batch: int, slots: int) -> None:
        config = model.config
        weight = model.lm_head.weight
        shape = (config.n_layers, batch, slots, config.n_kv_heads, config.head_size)
        self._keys = torch.zeros(shape, dtype=_cache_dtype(weight), device=weight.device)
        self._values = torch.zeros_like(self._keys)
        self._rows = torch.arange(batch, device=weight.device)[:, None]
        self.used = 0
        """Slots that any row may hold something in; attention looks no further."""

    def update(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Store [B, T, n_kv_heads, D] at `positions` [B, T]; return what the used slots hold."""
        self._keys[layer][self._rows, positions] = keys.to(self._keys.dtype)
        self._values[layer][self._rows, positions] = values.to(self._values.dtype)
        return self._keys[layer, :, : self.used], self._values[layer, :, : self.used]

    def mask(self, positions: Tensor) -> Tensor:
        """Bool [B, 1, T, slots]: those up to each query's own position. Called once a forward pass, before `update`."""
        self.used = max(self.used, int(positions.max()) + 1)
        slots = torch.arange(self.used, device=positions.device)
        return slots <= positions[:, None, :, None]


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    stop_ids: Sequence[int] = (),
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> list[Completion]:
    """Continue each prompt until a stop id, `max_new_tokens`, or the model's `max_seq_len`.

    `generator` is needed to sample: one for the batch, or one a prompt, which makes a row's draws independent of its
    neighbours. Greedy decoding takes the lowest id among equals.

    Raises:
        ValueError: an empty prompt, one that leaves no room, no generator to sample with, or a model that reads both
            ways.
    """
    if not model.config.causal:
        raise ValueError("this model was trained on masked tokens and reads both ways: it cannot continue a text")
    if not prompts:
        return []
    lengths = [len(prompt) for prompt in prompts]
    if min(lengths) == 0:
        raise ValueError("a prompt is empty: begin it with at least one token, such as the end-of-text separator")
    if max(lengths) >= model.config.max_seq_len:
        raise ValueError(f"a prompt of {max(lengths)} tokens leaves no room in max_seq_len {model.config.max_seq_len}")
    draw = _Draw(generator, len(prompts)) if config.temperature > 0 else None
    device = model.lm_head.weight.device
    room = [min(config.max_new_tokens, model.config.max_seq_len - length) for length in lengths]
    cache = KVCache(model, len(prompts), max(length + space for length, space in zip(lengths, room, strict=True)) - 1)
    padded = torch.zeros(len(prompts), max(lengths), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.tensor(prompt)
    positions = torch.arange(max(lengths)).expand(len(prompts), -1)
    hidden = model(padded.to(device), positions=positions.to(device), cache=cache)
    last = torch.tensor(lengths, device=device) - 1
    hidden = hidden[torch.arange(len(prompts), device=device), last]

    stops = frozenset(stop_ids)
    written: list[list[int]] = [[] for _ in prompts]
    log_probs: list[list[float]] = [[] for _ in prompts]
    reasons: list[FinishReason | None] = [None] * len(prompts)
    while True:
        logits = model.logits(hidden)
        chosen = logits.argmax(dim=-1) if draw is None else draw(filtered_probabilities(logits, config))
        chosen_log_probs = logits.log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0]
        for row, (token, log_prob) in enumerate(zip(chosen.tolist(), chosen_log_probs.tolist(), strict=True)):
            if reasons[row] is not None:
                continue
            written[row].append(token)
            log_probs[row].append(log_prob)
            if token in stops:
                reasons[row] = "stop"
            elif len(written[row]) == room[row]:
                reasons[row] = "length"
        if all(reasons):
            break
        # A finished row rewrites its last slot until the others are done.
        last = torch.where(torch.tensor([reason is None for reason in reasons], device=device), last + 1, last)
        hidden = model(chosen[:, None], positions=last[:, None], cache=cache)[:, 0]
    return [
        Completion(tokens, values, reason)
        for tokens, values, reason in zip(written, log_probs, reasons, strict=True)
        if reason is not None
    ]


def filtered_probabilities(logits: Tensor, config: SamplingConfig) -> Tensor:
    """Probabilities [B, V], fp64, after temperature, then top-k, then top-p. logits [B, V].

    A tie at the border of top-k keeps all that tie. Top-p keeps the likeliest token always.
    """
    scaled = logits.double() / config.temperature
    if config.top_k is not None and config.top_k < scaled.shape[-1]:
        border = scaled.topk(config.top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < border, -torch.inf)
    probabilities = scaled.softmax(dim=-1)
    if config.top_p is not None and config.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        dropped = torch.zeros_like(probabilities, dtype=torch.bool).scatter(1, order, before >= config.top_p)
        probabilities = probabilities.masked_fill(dropped, 0.0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


class _Draw:
    """Draws one token a row by inverting the cumulative distribution: one uniform number a row and step."""

    def __init__(self, generator: torch.Generator | Sequence[torch.Generator] | None, rows: int) -> None:
        if generator is None:
            raise ValueError("sampling needs a torch.Generator; use temperature 0 for greedy decoding")
        if not isinstance(generator, torch.Generator) and len(generator) != rows:
            raise ValueError(f"{len(generator)} generators for {rows} prompts")
        self._generator = generator
        self._rows = rows

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Token ids [B] from probabilities [B, V]."""
        uniform = self._uniform().to(probabilities.device)
        cumulative = probabilities.cumsum(dim=-1)
        found = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
        likely = probabilities > 0
        # Rounding may put the number at the very end; the last token that can be drawn is then meant.
        last = likely.shape[-1] - 1 - likely.flip(-1).int().argmax(dim=-1)
        return torch.minimum(found, last)

    def _uniform(self) -> Tensor:
        if isinstance(self._generator, torch.Generator):
            return torch.rand(self._rows, generator=self._generator, dtype=torch.float64, device=self._generator.device)
        draws = [torch.rand(1, generator=g, dtype=torch.float64, device=g.device) for g in self._generator]
        return torch.cat(draws)


def _cache_dtype(weight: Tensor) -> torch.dtype:
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
