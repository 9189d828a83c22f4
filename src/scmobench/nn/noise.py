"""Random masks for edges and node states that are cheap to draw."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 1 << 16
LANES = 64  # columns of a matrix whose masks are 16 bits each of the same words as those of the next 64
WORD = 0xFFFFFFFF


class Seed(NamedTuple):
    """What says which entries of a matrix stay, without a mask in memory.

    Attributes
    ----------
    number : one random 64-bit number, on the device.
    level : of `LEVELS`; an entry whose 16 random bits are fewer is dropped.
    """

    number: Tensor
    level: int


def seed(p: float, device: torch.device) -> Seed:
    """A fresh seed, of masks that keep each entry with probability 1 - p to 1 / 65536."""
    number = torch.empty(1, dtype=torch.int64, device=device).random_(-(2**63), None)
    return Seed(number, min(round(p * LEVELS), LEVELS - 1))


def hashed(number: Tensor, key: Tensor) -> Tensor:
    """32 random bits for each word number (int64): murmur3's finaliser of the number and ``key``, a seed's.

    The key's halves multiply the number and are added to it. The finaliser mixes so that each bit of its
    input changes each bit of its output with probability 1/2 (Appleby 2011, MurmurHash3).
    """
    h = (number * ((key >> 32) | 1) + key) & WORD
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & WORD
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & WORD
    return h ^ (h >> 16)


def keep(count: int, p: float, device: torch.device) -> Tensor:
    """``count`` booleans, each True with probability 1 - p to 1 / 65536.

    One 64-bit random number serves four entries: drawing a mask would otherwise cost as much as
    the product it is for.
    """
    bits = torch.empty(count // 4 + 1, dtype=torch.int64, device=device).random_(-(2**63), None)
    return bits.view(torch.int16)[:count] >= min(round(p * LEVELS), LEVELS - 1) - LEVELS // 2


class CoarseDropout(nn.Module):
    """`torch.nn.Dropout` with masks of `keep`; on a GPU, where drawing is cheap, PyTorch's own.

    The scores of scMoGNN in ``results/`` are of these masks. `dropout.Dropout` is faster and would
    change them.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p, True)
        mask = keep(x.numel(), self.p, x.device).view(x.shape)
        return x * mask.to(x.dtype).mul_(1 / (1 - self.p))
