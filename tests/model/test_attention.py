"""Blocked attention against its definition and torch's, in values and gradients."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

import model.attention
from model.attention import Visible, attention, document_mask, document_offsets, takes_offsets


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
    expected = plain(q, k, v, document_mask(ids))
    found = attention(q, k, v, documents_of(ids) if packed else None)
    assert type(found.grad_fn).__name__ != "TransposeBackward0", "the blocked path was not taken"
    weights = torch.linspace(-1, 1, found.numel()).view(found.shape)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), weights), torch.autograd.grad(expected, (q, k, v), weights)
    )


@pytest.mark.parametrize("packed", [False, True])
def test_without_gradients_the_values_are_the_same(packed):
    q, k, v = inputs(70)
    visible = documents_of(documents(70)) if packed else None
    with torch.no_grad():
        torch.testing.assert_close(attention(q, k, v, visible), attention(*inputs(70), visible))


def test_more_keys_than_queries_follow_the_mask():
    q, k, v = inputs(6)
    visible = torch.arange(6) <= torch.tensor([3, 5])[:, None]
    found = attention(q[:, [3, 5]], k, v, Visible(visible.expand(3, 1, 2, 6)))
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
    visible = documents_of(ids, causal=False) if packed else None
    found, expected = attention(q, k, v, visible, causal=False), plain(q, k, v, document_mask(ids, causal=False))
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1, 1, found.numel()).view(found.shape)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), weights), torch.autograd.grad(expected, (q, k, v), weights)
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("length", "spread"), [(50, 1.0), (200, 3.0)])
def test_in_bf16_gradients_are_as_near_to_the_exact_ones_as_torchs(packed, length, spread):
    exact = tuple((x.detach() * spread).bfloat16().double().requires_grad_() for x in inputs(length, size=16))
    ids = documents(length)
    visible = document_mask(ids) if packed else torch.ones(length, length, dtype=torch.bool).tril()
    weights = torch.linspace(-1, 1, exact[0].numel()).view(exact[0].shape).bfloat16()
    wanted = torch.autograd.grad(plain(*exact, visible), exact, weights.double())

    def error(attend) -> torch.Tensor:
        narrow = tuple(x.detach().bfloat16().requires_grad_() for x in exact)
        found = torch.autograd.grad(attend(*narrow), narrow, weights)
        return torch.stack([(a.double() - b).norm() / b.norm() for a, b in zip(found, wanted, strict=True)])

    def torchs(q, k, v):
        heads_first = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(*heads_first, attn_mask=visible, enable_gqa=True).transpose(1, 2)

    ours = error(lambda q, k, v: attention(q, k, v, documents_of(ids) if packed else None))
    assert ours.sum() <= 1.1 * error(torchs).sum()
    assert ours.max() < 0.02  # a product in bf16 is right to .004


@pytest.mark.parametrize("packed", [False, True])
def test_in_bf16_the_values_are_torchs(packed):
    q, k, v = (x.detach().bfloat16().requires_grad_() for x in inputs(70))
    ids = documents(70) if packed else torch.zeros(3, 70)
    heads_first = (x.transpose(1, 2) for x in (q, k, v))
    expected = F.scaled_dot_product_attention(*heads_first, attn_mask=document_mask(ids), enable_gqa=True)
    found = attention(q, k, v, documents_of(ids) if packed else None)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def test_offsets_are_where_documents_begin_and_rows_end_documents():
    assert document_offsets(torch.tensor([[7, 7, 8], [8, 8, 8]])).tolist() == [0, 2, 3, 6]
    assert document_offsets(torch.tensor([[1]])).dtype == torch.int32


@pytest.mark.parametrize("causal", [True, False])
def test_attention_by_offsets_is_that_by_masks(monkeypatch, causal):
    """torch's varlen kernel runs on CUDA alone: here something plain that takes the same arguments stands for it."""
    monkeypatch.setattr(model.attention, "varlen_attn", varlen)
    q, k, v = (x.detach() for x in inputs(20))
    ids = documents(20)
    found = attention(q, k, v, Visible(offsets=document_offsets(ids)), causal)
    torch.testing.assert_close(found, attention(q, k, v, documents_of(ids, causal), causal))


def varlen(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size, enable_gqa):
    assert torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k >= cu_seq_q.diff().max()
    assert enable_gqa == (q.shape[1] != k.shape[1]) and window_size in [(-1, 0), (-1, -1)]
    out = torch.empty_like(q)
    for start, end in pairwise(cu_seq_q):
        one = (x[None, start:end] for x in (q, k, v))
        n = int(end - start)
        seen = torch.ones(n, n, dtype=torch.bool)
        out[start:end] = plain(*one, seen.tril() if window_size == (-1, 0) else seen)[0]
    return out


def test_on_cuda_documents_in_bf16_hold_no_square_of_positions_and_shapes_fit():
    """Without a GPU: torch's fake tensors run the real calls, shapes and devices without values."""
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 6, heads, 64, device="cuda", dtype=torch.bfloat16) for heads in (4, 2, 2))
        offsets = torch.empty(4, device="cuda", dtype=torch.int32)
        assert attention(q, k, v, Visible(offsets=offsets)).shape == q.shape
        mask = Visible(torch.empty(2, 1, 6, 6, device="cuda", dtype=torch.bool))
        assert attention(q.float(), k.float(), v.float(), mask).shape == q.shape


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "capability", "takes"),
    [
        ("cuda", torch.bfloat16, 64, (9, 0), True),
        ("cuda", torch.bfloat16, 256, (8, 0), True),
        ("cuda", torch.bfloat16, 20, (9, 0), False),  # it pads nothing
        ("cuda", torch.bfloat16, 264, (9, 0), False),
        ("cuda", torch.bfloat16, 64, (7, 5), False),
        ("cuda", torch.float32, 64, (9, 0), False),
        ("cpu", torch.bfloat16, 64, (9, 0), False),
    ],
)
def test_offsets_are_for_what_flash_attention_takes(monkeypatch, device, dtype, head_size, capability, takes):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert takes_offsets(torch.device(device), dtype, head_size) is takes


def documents_of(ids, causal=True) -> Visible:
    return Visible.documents(ids, causal, torch.float32, head_size=64)
