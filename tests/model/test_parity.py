"""Logits, loss and gradients against transformers, to 1e-5 of their size, for networks drawn at random.

Our side sees documents packed into rows, theirs each document alone: masks, positions and scaling are in it together.
"""

import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from model.config import ModelConfig
from model.losses import IGNORE_INDEX
from model.rope_scaling import Llama3Scaling, YarnScaling
from model.transformer import Transformer

BOUND = 1e-5
KINDS = ("grouped", "tied", "theta", "yarn", "llama3", "biases", "qk_norm")


def drawn(kind: str) -> ModelConfig:
    """A configuration at random, with what `kind` says for certain."""
    draw = random.Random(kind)
    n_kv_heads = draw.choice([1, 2, 3])
    n_heads = n_kv_heads * draw.choice([2, 3] if kind == "grouped" else [1, 2, 3])
    original = draw.choice([16, 24, 48])
    sizes = {
        "vocab_size": draw.randrange(150, 400),
        "n_layers": draw.choice([2, 3, 4]),
        "n_kv_heads": n_kv_heads,
        "n_heads": n_heads,
        "hidden_size": n_heads * draw.randrange(24 // n_heads + 1, 72 // n_heads),
        "head_dim": draw.choice([8, 12, 16, 24]),
        "intermediate_size": draw.randrange(40, 120),
        "max_seq_len": 96,
        "norm_eps": draw.choice([1e-5, 1e-6]),
        "tie_embeddings": kind == "tied" or draw.random() < 0.3,
        "rope_theta": draw.choice([500_000.0, 1_000_000.0, 31_416.0]) if kind != "grouped" else 10_000.0,
        "init_std": 0.15,  # at 0.02 a tiny network is nearly linear and hides mistakes
    }
    more = {
        "yarn": {"rope_scaling": YarnScaling(factor=96 / original, original_max_seq_len=original, beta_fast=4)},
        "llama3": {"rope_scaling": Llama3Scaling(factor=8, original_max_seq_len=2 * original)},
        "biases": {"attention_bias": True},
        "qk_norm": {"qk_norm": True, "rope_scaling": YarnScaling(factor=4, original_max_seq_len=24, truncate=False)},
    }
    return ModelConfig(**{**sizes, **more.get(kind, {})})


def theirs(model: Transformer) -> torch.nn.Module:
    """transformers' network with the same weights."""
    settings = model.config.to_hf()
    del settings["architectures"]
    reference = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), attn_implementation="eager")
    reference.load_state_dict(model.state_dict())
    return reference


def norms_and_biases_apart(model: Transformer) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.uniform_(0.5, 1.5, generator=generator)


@dataclass
class Packed:
    tokens: Tensor
    labels: Tensor
    document_ids: Tensor
    documents: list[tuple[int, int, int]]
    """(row, start, end)"""


def packed(config: ModelConfig, length: int = 96) -> Packed:
    """Three rows of documents of all sizes; the last label of each document is the next one's first token: left out."""
    generator = torch.Generator().manual_seed(config.vocab_size)
    ids = torch.zeros(3, length, dtype=torch.long)
    borders = [(0, [31, 32, 80, length]), (1, [length]), (2, [7, 60, length])]
    documents = []
    for row, ends in borders:
        start = 0
        for number, end in enumerate(ends):
            ids[row, start:end] = number
            documents.append((row, start, end))
            start = end
    tokens = torch.randint(config.vocab_size, (3, length), generator=generator)
    labels = tokens.roll(-1, dims=1)
    for row, _, end in documents:
        labels[row, end - 1] = IGNORE_INDEX
    return Packed(tokens, labels, ids, documents)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_documents_are_transformers_separate_ones(kind: str):
    config = drawn(kind)
    model = Transformer(config, seed=3)
    norms_and_biases_apart(model)
    reference = theirs(model)
    batch = packed(config)

    with torch.no_grad():
        logits = model.logits(model(batch.tokens, document_ids=batch.document_ids))
    total, count = model(batch.tokens, document_ids=batch.document_ids, labels=batch.labels)
    (total / count).backward()

    loss = torch.zeros(())
    for row, start, end in batch.documents:
        alone = reference(batch.tokens[row : row + 1, start:end]).logits[0]
        scale = alone.detach().abs().max()
        assert (logits[row, start:end] - alone.detach()).abs().max() <= BOUND * scale
        wanted = batch.labels[row, start:end]
        loss = loss + torch.nn.functional.cross_entropy(alone, wanted, ignore_index=IGNORE_INDEX, reduction="sum")
    (loss / count).backward()

    assert abs(total.item() - loss.item()) <= BOUND * loss.item()
    expected = dict(reference.named_parameters())
    assert {name for name, _ in model.named_parameters()} == set(expected)
    for name, parameter in model.named_parameters():
        difference = (parameter.grad - expected[name].grad).norm() / expected[name].grad.norm()
        assert difference <= BOUND, (name, difference.item())


@pytest.mark.parametrize("kind", KINDS)
def test_separate_rows_are_packed_ones_in_our_own_network(kind: str):
    """Loss and gradients, in one pass of single documents each against one pass of packed rows."""
    config = drawn(kind)
    model = Transformer(config, seed=4)
    norms_and_biases_apart(model)
    batch = packed(config)
    total, _ = model(batch.tokens, document_ids=batch.document_ids, labels=batch.labels)
    total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    alone = torch.zeros(())
    for row, start, end in batch.documents:
        part = slice(start, end)
        loss, _ = model(batch.tokens[row : row + 1, part], labels=batch.labels[row : row + 1, part])
        loss.backward()
        alone += loss.detach()
    assert abs(total.item() - alone.item()) <= BOUND * alone.item()
    for name, parameter in model.named_parameters():
        difference = (parameter.grad - expected[name]).norm() / expected[name].norm()
        assert difference <= BOUND, (name, difference.item())


@pytest.mark.parametrize("kind", ["yarn", "llama3"])
def test_scaling_is_no_detail_that_these_bounds_would_miss(kind: str):
    config = drawn(kind)
    plain = config.model_copy(update={"rope_scaling": None})
    batch = packed(config)
    with torch.no_grad():
        states = [Transformer(shape, seed=3)(batch.tokens) for shape in (config, plain)]
    assert (states[0] - states[1]).abs().max() > 100 * BOUND * states[0].abs().max()
