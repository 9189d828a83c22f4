"""Dropout and normalisation of node states, against PyTorch's."""

import pytest
import torch
from torch import nn

from scmobench.nn.conv import StateNorm
from scmobench.nn.noise import CoarseDropout, keep


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_dropout_keeps_its_share_and_scales_what_is_left(p):
    torch.manual_seed(0)
    dropout = CoarseDropout(p)
    x = torch.ones(999, 101, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    kept = y.detach() != 0
    assert abs(kept.float().mean() - (1 - p)) < 0.005  # 100,899 draws: 3 standard errors
    for axis in (0, 1):
        assert (kept.float().mean(axis) - (1 - p)).abs().max() < 0.25  # no row and no column is spared
    torch.testing.assert_close(y[kept], torch.full((int(kept.sum()),), 1 / (1 - p)))
    torch.testing.assert_close(x.grad, y.detach())
    assert not torch.equal(dropout(x) != 0, kept)
    assert dropout.eval()(x) is x
    assert CoarseDropout(0.0)(x) is x


def test_a_dropout_of_almost_everything_keeps_almost_nothing():
    torch.manual_seed(0)
    assert keep(100_000, 1 - 1e-7, torch.device("cpu")).float().mean() < 1e-3


def test_dropout_keeps_the_type_of_numbers():
    assert CoarseDropout(0.5)(torch.ones(8, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_state_norm_is_group_norm():
    torch.manual_seed(0)
    ours, reference = StateNorm(4, 48).double(), nn.GroupNorm(4, 48).double()
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
    reference.load_state_dict(ours.state_dict())
    x = (torch.randn(70, 48, dtype=torch.float64) * 3 + 2).requires_grad_()
    other = x.detach().clone().requires_grad_()
    weights = torch.randn(70, 48, dtype=torch.float64)
    (ours(x) * weights).sum().backward()
    (reference(other) * weights).sum().backward()
    torch.testing.assert_close(ours(x), reference(other))
    torch.testing.assert_close(x.grad, other.grad)
    for mine, theirs in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
