"""Random masks for edges and node states that are cheap to draw."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 1 << 16


def keep(count: int, p: float, device: torch.device) -> Tensor:
    """``count`` booleans, each True with probability 1 - p to 1 / 65536.

    One 64-bit random number serves four entries: drawing a mask would otherwise cost as much as
    the product it is for.
    """
    bits = torch.empty(count // 4 + 1, dtype=torch.int64, device=device).random_(-(2**63), None)
    return bits.view(torch.int16)[:count] >= min(round(p * LEVELS), LEVELS - 1) - LEVELS // 2


class Dropout(nn.Module):
    """`torch.nn.Dropout` with masks of `keep`; on a GPU, where drawing is cheap, PyTorch's own."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"expected a dropout in [0, 1), found {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p, True)
        mask = keep(x.numel(), self.p, x.device).view(x.shape)
        return x * mask.to(x.dtype).mul_(1 / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"
