"""Frequencies against transformers' own functions, and what YaRN's paper and Llama 3.1's code say of them."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from model.rope import inverse_frequencies, rope_table, rotate
from model.rope_scaling import Llama3Scaling, YarnScaling, rope_to_hf

SCALINGS = [
    YarnScaling(factor=4, original_max_seq_len=2048),
    YarnScaling(factor=16, original_max_seq_len=4096, beta_fast=16, beta_slow=2, truncate=False),
    YarnScaling(factor=2.5, original_max_seq_len=100, attention_factor=1.25),
    YarnScaling(factor=8, original_max_seq_len=3, beta_fast=2),  # no wavelength fits: all are stretched
    Llama3Scaling(),
    Llama3Scaling(factor=32, original_max_seq_len=512, low_freq_factor=2, high_freq_factor=3),
]


def turned(x, position, theta=10_000.0, scaling=None):
    cos, sin = (table[position].repeat(1, 1, 2) for table in rope_table(8, 32, theta, scaling))
    return rotate(x, cos, sin)


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda s: f"{s.type}-{s.factor}")
@pytest.mark.parametrize("head_size", [8, 64, 128])
def test_frequencies_are_transformers(scaling, theta, head_size):
    config = LlamaConfig(
        hidden_size=4 * head_size, num_attention_heads=4, head_dim=head_size, **rope_to_hf(theta, scaling)
    )
    expected, factor = ROPE_INIT_FUNCTIONS[scaling.type](config, torch.device("cpu"))
    found, scale = inverse_frequencies(head_size, theta, scaling)
    torch.testing.assert_close(found, expected, rtol=2e-7, atol=0)  # all but the last bit
    assert scale == pytest.approx(factor, rel=1e-12)


def test_plain_frequencies_are_theta_to_minus_2i_over_d():
    found, scale = inverse_frequencies(8, 10_000.0)
    assert found.tolist() == pytest.approx([1.0, 10_000**-0.25, 10_000**-0.5, 10_000**-0.75])
    assert scale == 1.0


def test_yarn_keeps_fast_frequencies_and_divides_slow_ones():
    plain, _ = inverse_frequencies(128, 10_000.0)
    found, scale = inverse_frequencies(128, 10_000.0, YarnScaling(factor=4, original_max_seq_len=2048))
    rotations = 2048 * plain / (2 * math.pi)
    assert torch.equal(found[rotations > 40], plain[rotations > 40])
    torch.testing.assert_close(found[rotations < 0.8], plain[rotations < 0.8] / 4)
    assert ((found >= plain / 4) & (found <= plain)).all()
    assert scale == pytest.approx(0.1 * math.log(4) + 1)


def test_yarns_temperature_multiplies_scores_by_its_square():
    q, k = torch.randn(2, 1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    scaling = YarnScaling(factor=4, original_max_seq_len=8, attention_factor=1.0)
    warm = YarnScaling(factor=4, original_max_seq_len=8)
    plain = (turned(q, 20, scaling=scaling) * turned(k, 11, scaling=scaling)).sum()
    sharpened = (turned(q, 20, scaling=warm) * turned(k, 11, scaling=warm)).sum()
    assert sharpened.item() == pytest.approx(plain.item() * (0.1 * math.log(4) + 1) ** 2, rel=1e-5)


def test_rotation_is_by_position_times_frequency():
    x = torch.randn(1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    angles = 5 * torch.tensor([1.0, 10_000**-0.25, 10_000**-0.5, 10_000**-0.75])
    pairs = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(4), angles)
    torch.testing.assert_close(turned(x, 5), torch.cat((pairs.real, pairs.imag), dim=-1))


@pytest.mark.parametrize("scaling", [None, YarnScaling(factor=4, original_max_seq_len=8)])
def test_scores_depend_on_distance_only(scaling):
    q, k = torch.randn(2, 1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    near = (turned(q, 9, scaling=scaling) * turned(k, 4, scaling=scaling)).sum()
    far = (turned(q, 25, scaling=scaling) * turned(k, 20, scaling=scaling)).sum()
    assert near.item() == pytest.approx(far.item(), rel=1e-4)


@pytest.mark.parametrize("scaling", [None, YarnScaling(factor=4, original_max_seq_len=8)])
def test_rotations_gradient_is_its_transpose(scaling):
    x = torch.randn(2, 5, 2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    cos, sin = (table[:5].double().repeat(1, 2)[None] for table in rope_table(8, 32, 100.0, scaling))
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin), x)


def test_rotation_keeps_the_type_and_rounds_once():
    x = torch.randn(1, 5, 2, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    cos, sin = (table[:5].repeat(1, 2)[None] for table in rope_table(8, 32, 100.0))
    assert torch.equal(rotate(x, cos, sin), rotate(x.float(), cos, sin).bfloat16())
