"""Learned weights that mix the layers of a graph into one state per node."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerWeights(nn.Module):
    r"""Weighted sum over layers with softmax weights.

    .. math:: \hat H = \sum_l w_l H^l, \qquad w = \mathrm{softmax}(\theta)

    Source: Wen et al., KDD 2022 (layer weights of the readout). The logits :math:`\theta` start at zero
    (equal weights) and are an ordinary parameter, so that saving and restoring a model includes them.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"expected at least one layer to mix, found {n_layers}")
        self.logits = nn.Parameter(torch.zeros(n_layers))

    def forward(self, states: Tensor) -> Tensor:
        """Layers x nodes x features → nodes x features."""
        return torch.einsum("l,l...->...", self.weights().to(states.dtype), states)

    def weights(self) -> Tensor:
        """One positive weight for each layer, sum 1."""
        return torch.softmax(self.logits, dim=0)

    def rounded(self) -> list[float]:
        """The weights with four digits, for a record."""
        return [round(weight, 4) for weight in self.weights().tolist()]
