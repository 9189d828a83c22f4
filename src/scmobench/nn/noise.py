"""Random masks for edges and node states that are cheap to draw."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmobench.nn import generator

LEVELS = 1 << 16
LANES = 64  # columns of a matrix whose masks are 16 bits each of the same words as those of the next 64
WORD = 0xFFFFFFFF
LEAST = 2048  # values of a mask; a smaller one takes PyTorch as long as its generator's state takes to copy


class Seed(NamedTuple):
    """What says which entries of a matrix stay, without a mask in memory."""

    number: Tensor  # one random 64-bit number, on the device
    level: int  # of `LEVELS`; an entry whose 16 random bits are fewer is dropped


def seed(p: float, device: torch.device) -> Seed:
    """A fresh seed, of masks that keep each entry with probability 1 - p to 1 / 65536."""
    number = torch.empty(1, dtype=torch.int64, device=device).random_(-(2**63), None)
    return Seed(number, level_of(p))


def hashed(number: Tensor, key: Tensor) -> Tensor:
    """32 random bits for each word number (int64): murmur3's finaliser of the number and ``key``, a seed's.

    The key's halves multiply the number and are added to it. The finaliser mixes so that each bit of its
    input changes each bit of its output with probability 1/2 (Appleby 2011, MurmurHash3).
    """
    h = (number * ((key >> 32) | 1) + key) & WORD
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & WORD
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & WORD
    return h ^ (h >> 16)


def level_of(p: float) -> int:
    """Of `LEVELS`, for an entry that is dropped with probability ``p``; the highest always stays."""
    return min(round(p * LEVELS), LEVELS - 1)


def keep(count: int, p: float, device: torch.device) -> Tensor:
    """``count`` booleans, each True with probability 1 - p to 1 / 65536.

    16 random bits serve an entry: drawing a mask would otherwise cost as much as the product it is for.
    """
    if device.type == "cpu" and count >= LEAST and generator.as_torch():
        return generator.coarse_mask(count, level_of(p), 1.0) > 0
    return generator.bits(count, device) >= level_of(p) - LEVELS // 2


class Dropout(nn.Module):
    """`torch.nn.Dropout` to the bit; in float32 on a CPU its masks are drawn by `generator.mask`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.training and 0 < self.p < 1 and x.numel() >= LEAST and x.is_contiguous()
        if not (drawn and x.device.type == "cpu" and x.dtype == torch.float32 and generator.as_torch()):
            return functional.dropout(x, self.p, self.training)
        return x * generator.mask(x.numel(), self.p).view(x.shape)


class CoarseDropout(Dropout):
    """`Dropout` with masks like those of `keep`; on a GPU, where drawing is cheap, PyTorch's own.

    The scores of scMoGNN in ``results/`` are of these masks.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return functional.dropout(x, self.p, self.training)
        if x.dtype == torch.float32 and x.numel() >= LEAST and generator.as_torch():
            mask = generator.coarse_mask(x.numel(), level_of(self.p), 1 / (1 - self.p))
        else:
            mask = keep(x.numel(), self.p, x.device).to(x.dtype).mul_(1 / (1 - self.p))
        return x * mask.view(x.shape)
