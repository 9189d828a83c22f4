"""Dropout with masks of compiled code, against PyTorch's: values, gradients, what is drawn next."""

import pytest
import torch
from torch import nn

from scmobench.nn import dropout
from scmobench.nn.dropout import BLOCK, LEAST, Dropout, mask


@pytest.mark.parametrize("before", [0, 1, 2, BLOCK - 1])  # single words drawn before
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 1 / 3, 0.999999])
@pytest.mark.parametrize("count", [1, BLOCK // 2, BLOCK // 2 + 1, 5_000])
def test_masks_are_those_of_pytorch(count: int, p: float, before: int) -> None:
    drawn = []
    for draw in (lambda: torch.empty(count).bernoulli_(1 - p).div_(1 - p), lambda: mask(count, p)):
        torch.manual_seed(count)
        torch.rand(before)
        drawn.append((draw(), torch.randn(5), torch.rand(700), torch.get_rng_state()))
    for theirs, ours in zip(*drawn, strict=True):
        assert torch.equal(theirs, ours)


@pytest.mark.parametrize("shape", [(64, 64), (3, 5), (2, 40, 50)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_layer_is_that_of_pytorch(shape: tuple[int, ...], kind: torch.dtype, p: float) -> None:
    results = []
    for layer in (nn.Dropout(p), Dropout(p)):
        torch.manual_seed(1)
        x = torch.randn(shape, dtype=kind).requires_grad_()
        turned = x.transpose(0, 1)
        y, z = layer(x), layer(turned)
        (y.sum() + (z**2).sum()).backward()
        results.append((y, z, x.grad, layer.eval()(x), torch.get_rng_state()))
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)


def test_a_pytorch_that_draws_otherwise_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dropout.as_torch(), "the compiled code serves this PyTorch"
    before = torch.get_rng_state()
    with monkeypatch.context() as other:
        other.setattr(dropout, "mask", lambda count, p: torch.zeros(count))
        assert not dropout.as_torch.__wrapped__()
        assert torch.equal(before, torch.get_rng_state())
        other.setattr(dropout, "as_torch", lambda: False)
        assert Dropout(0.5)(torch.ones(LEAST)).any()
