"""A running mean of a network's parameters over its training steps."""

import copy

import torch
from torch import Tensor, nn

FIRST, GROWTH = 1, 10  # after n steps the decay is at most (1 + n) / (10 + n): the start is soon forgotten


class MeanNetwork(nn.Module):
    """A copy of a network that follows it: call ``follow`` after each step.

    The parameters p become decay p + (1 - decay) p', where p' are those of the step: an exponential moving
    average (Polyak & Juditsky 1992; the growing decay as in Abadi et al. 2016, TensorFlow). The first step's
    are taken as they are. Buffers are the network's own. PyTorch's `AveragedModel` gives the same bytes on a
    CPU, but looks the parameters up again for each of them: a tenth of a step of 64 cells.
    ``decay`` is in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy.deepcopy(network), decay
        self.register_buffer("n_averaged", torch.tensor(0))
        self._found: tuple[nn.Module, list[Tensor], list[Tensor], list[tuple[nn.Module, nn.Module]]] = ()

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take a step of the network into the mean. On a GPU the host waits for no number."""
        if not self._found or self._found[0] is not network:
            pairs = zip(self.module.modules(), network.modules(), strict=True)
            buffered = [pair for pair in pairs if any(True for _ in pair[1].buffers(recurse=False))]
            self._found = network, [*self.module.parameters()], [*network.parameters()], buffered
        _, means, parameters, buffered = self._found
        n = self.n_averaged
        if n.is_cuda:
            kept = torch.where(n == 0, 0.0, ((FIRST + n) / (GROWTH + n)).clamp(max=self.decay))
            gaps = torch._foreach_sub(parameters, means)
            torch._foreach_mul_(gaps, 1 - kept)
            torch._foreach_add_(means, gaps)
        elif (steps := float(n)) == 0:
            torch._foreach_copy_(means, parameters)
        else:
            kept = min(self.decay, (FIRST + steps) / (GROWTH + steps))
            torch._foreach_lerp_(means, parameters, 1 - kept)
        for mean, own in buffered:
            for ours, theirs in zip(mean.buffers(recurse=False), own.buffers(recurse=False), strict=True):
                ours.copy_(theirs)
        n.add_(1)
