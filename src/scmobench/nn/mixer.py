"""Mixtures: of the two messages of a feature node, and of the layers of a graph."""

import torch
from torch import Tensor, nn


class Mixer(nn.Module):
    r"""One state from two messages m1 (from cells) and m2 (from features), each features x d.

    ====================  ==================================================================
    ``alpha``             (1 - a) m1 + a m2; a fixed, or learned as softmax of two numbers
    ``sum``               m1 + m2
    ``cat``               W [m1, m2] + b
    ``attention``         s1 m1 + s2 m2, s = softmax over the two of <m, W h + b>
    ``gate``              g m1 + (1 - g) m2, g = sigmoid(W [h, m1, m2] + b)
    ``two_gate``          g1 m1 + g2 m2, gi = sigmoid(W_i [h, m_i] + b_i)
    ====================  ==================================================================

    h is the node's state before the layer (features x d). ``alpha`` is the weight a; None learns it.
    Source: Wen et al. 2022, section 4.2, and its code. Deviations: in the code ``sum`` skips the
    normalisation of the messages, and all layers share a learned ``alpha``; here every layer has its own.
    """

    def __init__(self, kind: str, size: int, alpha: float | None = 0.5) -> None:
        super().__init__()
        self.kind, self.alpha = kind, alpha
        inputs = {"cat": (2,), "attention": (1,), "gate": (3,), "two_gate": (2, 2)}.get(kind, ())
        self.maps = nn.ModuleList([nn.Linear(n * size, size) for n in inputs])
        self.logits = nn.Parameter(torch.zeros(2)) if kind == "alpha" and alpha is None else None

    def forward(self, h: Tensor, m1: Tensor, m2: Tensor) -> Tensor:
        if self.kind == "sum":
            return m1 + m2
        if self.kind == "alpha":
            if self.logits is None:
                return torch.add((1 - self.alpha) * m1, m2, alpha=self.alpha)
            first, second = torch.softmax(self.logits, 0)
            return first * m1 + second * m2
        if self.kind == "cat":
            return self.maps[0](torch.cat([m1, m2], 1))
        if self.kind == "attention":
            query = self.maps[0](h)
            scores = torch.stack([(query * m1).sum(1), (query * m2).sum(1)], 1).softmax(1)
            return scores[:, :1] * m1 + scores[:, 1:] * m2
        if self.kind == "gate":
            gate = torch.sigmoid(self.maps[0](torch.cat([h, m1, m2], 1)))
            return gate * m1 + (1 - gate) * m2
        gates = [torch.sigmoid(w(torch.cat([h, m], 1))) for w, m in zip(self.maps, (m1, m2), strict=True)]
        return gates[0] * m1 + gates[1] * m2


class LayerWeights(nn.Module):
    r"""Weighted sum over layers with softmax weights.

    .. math:: \hat H = \sum_l w_l H^l, \qquad w = \mathrm{softmax}(\theta)

    Source: Wen et al., KDD 2022 (layer weights of the readout). The logits :math:`\theta` start at zero
    (equal weights) and are an ordinary parameter, so that saving and restoring a model includes them.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
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
