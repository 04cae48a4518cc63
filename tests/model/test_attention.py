"""Blocked attention against torch's, in values and gradients; the rotary embedding's defining properties."""

import pytest
import torch
import torch.nn.functional as F

import model.attention
from model.attention import attention, document_mask
from model.rope import rope_table, rotate


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


def turned(x, position, theta=10_000.0):
    cos, sin = (table[position].repeat(1, 1, 2) for table in rope_table(8, 32, theta))
    return rotate(x, cos, sin)


def test_rotation_is_by_position_times_theta_to_minus_2i_over_d():
    x = torch.randn(1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    angles = 5 * torch.tensor([1.0, 10_000**-0.25, 10_000**-0.5, 10_000**-0.75])
    pairs = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(4), angles)
    torch.testing.assert_close(turned(x, 5), torch.cat((pairs.real, pairs.imag), dim=-1))


def test_scores_depend_on_distance_only():
    q, k = torch.randn(2, 1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    near = (turned(q, 9) * turned(k, 4)).sum()
    far = (turned(q, 25) * turned(k, 20)).sum()
    assert near.item() == pytest.approx(far.item(), rel=1e-4)


def test_rotations_gradient_is_the_rotation_backwards():
    x = torch.randn(2, 5, 2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    cos, sin = (table[:5].double().repeat(1, 2)[None] for table in rope_table(8, 32, 100.0))
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin), x)


def test_rotation_keeps_the_type_and_rounds_once():
    x = torch.randn(1, 5, 2, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    cos, sin = (table[:5].repeat(1, 2)[None] for table in rope_table(8, 32, 100.0))
    assert torch.equal(rotate(x, cos, sin), rotate(x.float(), cos, sin).bfloat16())


def test_torchs_attention_is_used_where_it_is_the_faster_one():
    q, k, v = (x.detach().bfloat16().requires_grad_() for x in inputs(8))
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True, enable_gqa=True)
    assert torch.equal(attention(q, k, v, None), expected.transpose(1, 2))
