"""A running mean of a network's parameters over its training steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

FIRST, GROWTH = 1, 10  # after n steps the decay is at most (1 + n) / (10 + n): the start is soon forgotten


def averaged(network: nn.Module, decay: float) -> AveragedModel | None:
    """A copy of ``network`` that follows it: call ``update_parameters(network)`` after each step.

    The parameters p become decay p + (1 - decay) p', where p' are those of the step: an exponential moving
    average (Polyak & Juditsky 1992; the growing decay as in Abadi et al. 2016, TensorFlow). Buffers are
    the network's own. With a decay of 0 there is no average, and the result is None. A decay outside [0, 1)
    is a ValueError.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"expected a weight_averaging in [0, 1), found {decay}")
    if decay == 0:
        return None

    def move(means: list[Tensor], parameters: list[Tensor], steps: Tensor) -> None:
        n = float(steps)
        torch._foreach_lerp_(means, parameters, 1 - min(decay, (FIRST + n) / (GROWTH + n)))

    return AveragedModel(network, multi_avg_fn=move)


@torch.no_grad()
def moved_on(mean: AveragedModel, network: nn.Module, decay: float) -> None:
    """``mean.update_parameters(network)`` without a number that the host would wait for; on any device."""
    n = mean.n_averaged
    kept = torch.where(n == 0, 0.0, ((FIRST + n) / (GROWTH + n)).clamp(max=decay))
    means = list(mean.module.parameters())
    gaps = torch._foreach_sub(list(network.parameters()), means)
    torch._foreach_mul_(gaps, 1 - kept)
    torch._foreach_add_(means, gaps)
    for own, buffer in zip(mean.module.buffers(), network.buffers(), strict=True):
        own.copy_(buffer)
    n.add_(1)
