"""Cross-entropy in slices against torch's own over whole logits."""

import pytest
import torch
import torch.nn.functional as F

import model.losses
from model.losses import IGNORE_INDEX, linear_cross_entropy, linear_nll, next_token_labels


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Several slices, the last one short, even at test sizes."""
    monkeypatch.setattr(model.losses, "_CPU_SLICE", 64)
    monkeypatch.setattr(model.losses, "_CPU_CACHED", 33)
    monkeypatch.setattr(model.losses, "_SMALLEST_SLICE_ROWS", 4)


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 7, 5, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, dtype=dtype, requires_grad=True)
    labels = torch.randint(11, (3, 7), generator=generator)
    labels[0, 2:6] = IGNORE_INDEX
    return hidden, weight, labels


def whole(hidden, weight, labels):
    logits = F.linear(hidden, weight).flatten(0, 1)
    return F.cross_entropy(logits, labels.flatten(), ignore_index=IGNORE_INDEX, reduction="none").view(labels.shape)


def test_sum_and_gradients_are_those_of_whole_logits():
    hidden, weight, labels = problem(torch.float32)
    expected = torch.autograd.grad(whole(hidden, weight, labels).sum() * 0.25, (hidden, weight))
    total, z_term = linear_cross_entropy(hidden, weight, labels)
    found = torch.autograd.grad(total * 0.25, (hidden, weight))
    torch.testing.assert_close(total, whole(hidden, weight, labels).sum())
    torch.testing.assert_close(found, expected)
    assert z_term.item() == 0


def test_z_loss_is_log_z_squared_and_so_are_its_gradients():
    hidden, weight, labels = problem(torch.float32)
    counted = labels != IGNORE_INDEX
    z_term = 0.1 * F.linear(hidden, weight).logsumexp(-1)[counted].square().sum()
    both = whole(hidden, weight, labels).sum() + z_term
    total, found_z = linear_cross_entropy(hidden, weight, labels, z_loss=0.1)
    torch.testing.assert_close((total, found_z), (both, z_term))
    assert not found_z.requires_grad
    torch.testing.assert_close(
        torch.autograd.grad(total * 0.25, (hidden, weight)), torch.autograd.grad(both * 0.25, (hidden, weight))
    )


def test_terms_and_gradients_are_those_of_whole_logits():
    hidden, weight, labels = problem(torch.float32)
    weights = torch.linspace(-1, 2, labels.numel()).view(labels.shape)
    expected = torch.autograd.grad((whole(hidden, weight, labels) * weights).sum(), (hidden, weight))
    nll = linear_nll(hidden, weight, labels)
    found = torch.autograd.grad((nll * weights).sum(), (hidden, weight))
    torch.testing.assert_close(nll, whole(hidden, weight, labels))
    torch.testing.assert_close(found, expected)


def test_a_bf16_gradient_is_scaled_by_the_whole_factor():
    """1 / 740.3 in bf16 is .1 % off: a body that learns by that and a head by the exact one would drift apart."""
    gradient, scale = torch.randn(7, 40, generator=torch.Generator().manual_seed(0)).bfloat16(), torch.tensor(1 / 740.3)
    expected = (gradient.double() * scale.double()).bfloat16()
    assert not torch.equal(expected, gradient * scale.bfloat16())
    assert torch.equal(model.losses._scale(gradient, scale), expected)
    assert torch.equal(gradient, expected)  # in place


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("function", [lambda *x: linear_cross_entropy(*x, z_loss=1e-4)[0], linear_nll])
def test_a_frozen_input_gets_no_gradient(function, frozen):
    inputs = list(problem(torch.float32))
    inputs[frozen] = inputs[frozen].detach()
    function(*inputs).sum().backward()
    assert inputs[frozen].grad is None
    assert inputs[1 - frozen].grad is not None


def test_large_logits_do_not_overflow():
    hidden = torch.full((1, 1, 2), 300.0, requires_grad=True)
    weight = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], requires_grad=True)
    labels = torch.tensor([[1]])
    assert linear_nll(hidden, weight, labels).item() == pytest.approx(1200.0)
    total, z_term = linear_cross_entropy(hidden, weight, labels, z_loss=1e-4)
    assert z_term.item() == pytest.approx(1e-4 * 600.0**2)
    assert (total - z_term).item() == pytest.approx(1200.0)


def test_next_token_labels_shift_by_one():
    assert next_token_labels(torch.tensor([[5, 6, 7]])).tolist() == [[6, 7, IGNORE_INDEX]]
