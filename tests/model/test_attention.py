"""Blocked attention against its definition and torch's, in values and gradients."""

import pytest
import torch
import torch.nn.functional as F

import model.attention
from model.attention import attention, document_mask


def inputs(length, n_heads=4, n_kv_heads=2, batch=3, size=8):
    generator = torch.Generator().manual_seed(length)
    return tuple(
        torch.randn(batch, length, heads, size, generator=generator, requires_grad=True)
        for heads in (n_heads, n_kv_heads, n_kv_heads)
    )


def plain(q, k, v, visible):
    """The definition, head by head."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, dim=2), v.repeat_interleave(group, dim=2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhts,bshd->bthd", scores.masked_fill(~visible, -torch.inf).softmax(-1), v)


def documents(length):
    return torch.stack([torch.arange(length) // size for size in (5, 9, length)])


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 50])
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(4, 2), (3, 1), (2, 2)])
@pytest.mark.parametrize("packed", [False, True])
def test_values_and_gradients_are_those_of_the_definition(monkeypatch, kept, length, n_heads, n_kv_heads, packed):
    monkeypatch.setattr(model.attention, "BLOCK", 16)
    if not kept:
        monkeypatch.setattr(model.attention, "_KEPT_BYTES", 0)
    q, k, v = inputs(length, n_heads, n_kv_heads)
    ids = documents(length) if packed else torch.zeros(3, length)
    mask = document_mask(ids) if packed else None
    expected = plain(q, k, v, document_mask(ids))
    found = attention(q, k, v, mask)
    assert type(found.grad_fn).__name__ != "TransposeBackward0", "the blocked path was not taken"
    weights = torch.linspace(-1, 1, found.numel()).view(found.shape)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), weights), torch.autograd.grad(expected, (q, k, v), weights)
    )


@pytest.mark.parametrize("packed", [False, True])
def test_without_gradients_the_values_are_the_same(packed):
    q, k, v = inputs(70)
    mask = document_mask(documents(70)) if packed else None
    with torch.no_grad():
        torch.testing.assert_close(attention(q, k, v, mask), attention(*inputs(70), mask))


def test_more_keys_than_queries_follow_the_mask():
    q, k, v = inputs(6)
    visible = torch.arange(6) <= torch.tensor([3, 5])[:, None]
    found = attention(q[:, [3, 5]], k, v, visible.expand(3, 1, 2, 6))
    torch.testing.assert_close(found, attention(q, k, v, None)[:, [3, 5]])


def test_document_mask_is_causal_within_equal_ids():
    assert document_mask(torch.tensor([[7, 7, 8]]))[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]


def test_document_mask_both_ways_is_equal_ids():
    assert document_mask(torch.tensor([[7, 7, 8]]), causal=False)[0, 0].tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_attention_both_ways_is_that_of_the_definition(packed):
    q, k, v = inputs(20)
    ids = documents(20) if packed else torch.zeros(3, 20)
    mask = document_mask(ids, causal=False) if packed else None
    found, expected = attention(q, k, v, mask, causal=False), plain(q, k, v, document_mask(ids, causal=False))
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1, 1, found.numel()).view(found.shape)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), weights), torch.autograd.grad(expected, (q, k, v), weights)
    )


def test_torchs_attention_is_used_where_it_is_the_faster_one():
    q, k, v = (x.detach().bfloat16().requires_grad_() for x in inputs(8))
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True, enable_gqa=True)
    assert torch.equal(attention(q, k, v, None), expected.transpose(1, 2))
