"""Masks drawn in compiled code, and dropout with them, against PyTorch: values, gradients, what is next."""

import pytest
import torch
from torch import nn

from scmobench.nn import generator
from scmobench.nn.generator import BLOCK, bits, coarse_mask, mask
from scmobench.nn.noise import LEAST, LEVELS, CoarseDropout, Dropout, keep, level_of


@pytest.mark.parametrize("before", [0, 1, 2, BLOCK - 1])  # single words drawn before
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 1 / 3, 0.999999])
@pytest.mark.parametrize("count", [1, BLOCK // 2, BLOCK // 2 + 1, 5_000])
def test_masks_are_those_of_pytorch(count: int, p: float, before: int) -> None:
    level = level_of(p) - LEVELS // 2
    ways = (
        lambda: (torch.empty(count).bernoulli_(1 - p).div_(1 - p), (bits(count, "cpu") >= level) * 1.5),
        lambda: (mask(count, p), coarse_mask(count, level + LEVELS // 2, 1.5)),
    )
    drawn = []
    for draw in ways:
        torch.manual_seed(count)
        torch.rand(before)
        drawn.append((*draw(), torch.randn(5), torch.rand(700), torch.get_rng_state()))
    for theirs, ours in zip(*drawn, strict=True):
        assert torch.equal(theirs, ours)


@pytest.mark.parametrize("shape", [(64, 64), (3, 5), (2, 40, 50)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_is_that_of_pytorch(shape: tuple[int, ...], kind: torch.dtype, p: float) -> None:
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
    assert generator.as_torch(), "the compiled code serves this PyTorch"
    before, x = torch.get_rng_state(), torch.rand(LEAST)

    def all_masks() -> list[torch.Tensor]:
        torch.set_rng_state(before)
        return [Dropout(0.5)(x), CoarseDropout(0.5)(x), keep(LEAST, 0.5, torch.device("cpu"))]

    ours = all_masks()
    for state in (torch.zeros(5064, dtype=torch.uint8), torch.zeros(5056, dtype=torch.uint8)):
        with monkeypatch.context() as other:
            other.setattr(torch, "get_rng_state", state.clone)
            other.setattr(torch, "set_rng_state", lambda state: None)
            assert not generator.as_torch.__wrapped__(), "another length, or no mt19937"
    for name in ("mask", "coarse_mask"):
        with monkeypatch.context() as other:
            other.setattr(generator, name, lambda count, *_: torch.zeros(count))
            torch.set_rng_state(before)
            assert not generator.as_torch.__wrapped__()
            assert torch.equal(before, torch.get_rng_state())
            other.setattr(generator, "as_torch", lambda: False)
            assert all(torch.equal(*pair) for pair in zip(all_masks(), ours, strict=True))
