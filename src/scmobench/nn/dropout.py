"""PyTorch's dropout on a CPU, the same bytes with masks that are drawn 14 times faster.

PyTorch draws a mask by one call of its generator for each word. Here a block of words is made at once.
"""

import math
from functools import cache

import numpy as np
import torch
from numba import float32, uint32, uint64
from torch import Tensor, nn
from torch.nn import functional

from scmobench.compiled import compiled

BLOCK, AHEAD = (
    624,
    397,
)  # words of mt19937's state; how far ahead the word lies that each new one is made from
WORDS = slice(24, 24 + 8 * BLOCK)  # bytes of `torch.get_rng_state` that hold the words, eight for each
LEFT, NEXT = slice(8, 12), slice(16, 24)  # bytes that hold how many words are left, plus 1, and the next one
LEAST = 2048  # values of a mask; a smaller one takes PyTorch as long as its state takes to copy


@compiled("uint32(uint32, uint32, uint32)")
def _renewed(word, following, far):
    """A word of the next block, from those of this one at its place, after it and `AHEAD` of it."""
    y = (word & uint32(0x80000000)) | (following & uint32(0x7FFFFFFF))
    return far ^ (y >> uint32(1)) ^ ((uint32(0) - (y & uint32(1))) & uint32(0x9908B0DF))


@compiled("int64(uint32[::1], int64, uint64, float32, float32[::1])")
def _draw(state, at, below, value, mask):
    """Fill ``mask`` with ``value`` where the next number of 53 bits, two words, is under ``below``, else 0.

    mt19937 (Matsumoto and Nishimura 1998). ``at`` is the place of the next word in ``state``, and returned.
    """
    words = np.empty(BLOCK, np.uint32)
    high, halved, done = uint32(0), False, 0
    while done < len(mask):
        if at == BLOCK:
            for i in range(BLOCK - AHEAD):
                state[i] = _renewed(state[i], state[i + 1], state[i + AHEAD])
            for i in range(BLOCK - AHEAD, BLOCK - 1):
                state[i] = _renewed(state[i], state[i + 1], state[i + AHEAD - BLOCK])
            state[BLOCK - 1] = _renewed(state[BLOCK - 1], state[0], state[AHEAD - 1])
            at = 0
        for i in range(BLOCK):
            y = state[i]
            y ^= y >> uint32(11)
            y ^= (y << uint32(7)) & uint32(0x9D2C5680)
            y ^= (y << uint32(15)) & uint32(0xEFC60000)
            words[i] = y ^ (y >> uint32(18))
        if halved:  # the first word of this number was the last of a block
            number = (uint64(high & uint32(0x1FFFFF)) << uint64(32)) | uint64(words[0])
            mask[done] = value if number < below else float32(0)
            halved, at, done = False, 1, done + 1
        pairs = min((BLOCK - at) // 2, len(mask) - done)
        here, given = mask[done : done + pairs], words[at : at + 2 * pairs]
        for i in range(pairs):
            number = (uint64(given[2 * i] & uint32(0x1FFFFF)) << uint64(32)) | uint64(given[2 * i + 1])
            here[i] = value if number < below else float32(0)
        at, done = at + 2 * pairs, done + pairs
        if done < len(mask) and at == BLOCK - 1:
            high, halved, at = words[at], True, BLOCK
    return at


def mask(count: int, p: float) -> Tensor:
    """``torch.empty(count).bernoulli_(1 - p).div_(1 - p)`` to the bit; PyTorch's generator goes on alike."""
    state = torch.get_rng_state()
    raw = state.numpy()
    words = raw[WORDS].view(np.uint64)
    block = words.astype(np.uint32)
    values = np.empty(count, np.float32)
    at = BLOCK + 1 - int(raw[LEFT].view(np.int32)[0])
    at = _draw(block, at, math.ceil((1 - p) * 2**53), float(torch.ones(1).div_(1 - p)), values)
    words[:] = block
    raw[LEFT].view(np.int32)[0], raw[NEXT].view(np.uint64)[0] = BLOCK + 1 - at, at
    torch.set_rng_state(state)
    return torch.from_numpy(values)


@cache
def as_torch() -> bool:
    """Whether this PyTorch draws as `mask` does. Another version, or processor, may not."""
    before, count = torch.get_rng_state(), BLOCK + 1
    try:
        ours, after = mask(count, 0.3), torch.get_rng_state()
        torch.set_rng_state(before)
        theirs = torch.empty(count).bernoulli_(0.7).div_(0.7)
        return torch.equal(ours, theirs) and torch.equal(after, torch.get_rng_state())
    finally:
        torch.set_rng_state(before)


class Dropout(nn.Module):
    """`torch.nn.Dropout` to the bit; in float32 on a CPU its masks are drawn by `mask`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.training and 0 < self.p < 1 and x.numel() >= LEAST and x.is_contiguous()
        if not (drawn and x.device.type == "cpu" and x.dtype == torch.float32 and as_torch()):
            return functional.dropout(x, self.p, self.training)
        return x * mask(x.numel(), self.p).view(x.shape)
