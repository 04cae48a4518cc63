"""Preference losses against their formulas, written out."""

import math

import pytest
import torch
from pydantic import ValidationError

from model.dpo import DPOConfig, dpo_loss

GENERATOR = torch.Generator().manual_seed(0)
POLICY_CHOSEN, POLICY_REJECTED, REFERENCE_CHOSEN, REFERENCE_REJECTED = -50 * torch.rand(4, 6, generator=GENERATOR)
LENGTHS = torch.randint(1, 20, (2, 6), generator=GENERATOR)
ALL = (POLICY_CHOSEN, POLICY_REJECTED, REFERENCE_CHOSEN, REFERENCE_REJECTED, LENGTHS)


def test_policy_equal_to_reference_loses_ln_2_with_no_margin():
    losses, metrics = dpo_loss(
        POLICY_CHOSEN, POLICY_REJECTED, POLICY_CHOSEN, POLICY_REJECTED, LENGTHS, DPOConfig(beta=0.3)
    )
    assert losses.tolist() == pytest.approx([math.log(2)] * 6, rel=1e-6)
    assert (metrics["rewards/margin"] == 0).all() and (metrics["rewards/accuracy"] == 0).all()


def test_sigmoid_loss_is_equation_7():
    losses, _ = dpo_loss(*ALL, DPOConfig(beta=0.2))
    for i in range(6):
        chosen = 0.2 * (POLICY_CHOSEN[i] - REFERENCE_CHOSEN[i]).item()
        rejected = 0.2 * (POLICY_REJECTED[i] - REFERENCE_REJECTED[i]).item()
        assert losses[i].item() == pytest.approx(math.log1p(math.exp(-(chosen - rejected))), rel=1e-5, abs=1e-6)


def test_gradient_pushes_the_answers_apart_by_how_wrong_the_order_is():
    chosen, rejected = POLICY_CHOSEN.clone().requires_grad_(), POLICY_REJECTED.clone().requires_grad_()
    losses, metrics = dpo_loss(chosen, rejected, REFERENCE_CHOSEN, REFERENCE_REJECTED, LENGTHS, DPOConfig(beta=0.1))
    losses.sum().backward()
    weight = 0.1 * torch.sigmoid(-metrics["rewards/margin"])  # Rafailov et al. 2023, section 4
    torch.testing.assert_close(chosen.grad, -weight)
    torch.testing.assert_close(rejected.grad, weight)


def test_ipo_regresses_the_mean_margin_on_half_the_inverse_beta():
    losses, _ = dpo_loss(*ALL, DPOConfig(loss="ipo", beta=0.25))
    chosen = (POLICY_CHOSEN - REFERENCE_CHOSEN) / LENGTHS[0]
    rejected = (POLICY_REJECTED - REFERENCE_REJECTED) / LENGTHS[1]
    torch.testing.assert_close(losses, (chosen - rejected - 2.0) ** 2)


def test_label_smoothing_mixes_in_the_opposite_label():
    plain, _ = dpo_loss(*ALL, DPOConfig())
    opposite, _ = dpo_loss(
        POLICY_REJECTED, POLICY_CHOSEN, REFERENCE_REJECTED, REFERENCE_CHOSEN, LENGTHS.flip(0), DPOConfig()
    )
    smoothed, _ = dpo_loss(*ALL, DPOConfig(label_smoothing=0.1))
    torch.testing.assert_close(smoothed, 0.9 * plain + 0.1 * opposite)


def test_nll_term_is_the_chosen_answers_mean():
    plain, _ = dpo_loss(*ALL, DPOConfig())
    with_nll, _ = dpo_loss(*ALL, DPOConfig(nll_weight=0.2))
    torch.testing.assert_close(with_nll - plain, -0.2 * POLICY_CHOSEN / LENGTHS[0])


def test_metrics_are_scaled_log_ratios_and_carry_no_gradient():
    losses, metrics = dpo_loss(POLICY_CHOSEN.clone().requires_grad_(), *ALL[1:], DPOConfig(beta=0.5))
    assert losses.requires_grad and not any(value.requires_grad for value in metrics.values())
    torch.testing.assert_close(metrics["rewards/chosen"], 0.5 * (POLICY_CHOSEN - REFERENCE_CHOSEN))
    torch.testing.assert_close(metrics["rewards/margin"], metrics["rewards/chosen"] - metrics["rewards/rejected"])
    assert set(metrics["rewards/accuracy"].tolist()) == {0.0, 1.0}


def test_extreme_margins_stay_finite():
    far = torch.tensor([-1e5, 0.0])
    losses, _ = dpo_loss(far, far.flip(0), torch.zeros(2), torch.zeros(2), torch.ones(2, 2), DPOConfig(beta=1.0))
    assert losses.tolist() == [1e5, 0.0]


def test_smoothing_without_a_label_is_refused():
    with pytest.raises(ValidationError, match="label_smoothing"):
        DPOConfig(loss="ipo", label_smoothing=0.1)
