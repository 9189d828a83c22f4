"""Fully connected network: a stack of linear maps with activation, normalisation and dropout."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from scmobench.nn.noise import Dropout

Activation = Literal["gelu", "relu", "elu", "none"]
ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "elu": nn.ELU, "none": nn.Identity}


class MLP(nn.Module):
    """Hidden blocks Linear → activation → [batch normalisation] → dropout, then one Linear.

    With ``norm_first`` a block is Linear → batch normalisation → activation → dropout.

    Parameters
    ----------
    n_in, n_out : input and output features.
    hidden : width of each hidden block; empty for a single linear map.
    dropout : one probability for all hidden blocks, or one for each.
    activation, output_activation : of the hidden blocks, and after the last linear map.
    batch_norm, norm_first : normalise over the batch after each activation, or before it.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden: Sequence[int] = (),
        *,
        dropout: float | Sequence[float] = 0.0,
        activation: Activation = "gelu",
        batch_norm: bool = False,
        norm_first: bool = False,
        output_activation: Activation = "none",
    ) -> None:
        super().__init__()
        rates = [float(dropout)] * len(hidden) if isinstance(dropout, int | float) else list(dropout)
        if len(rates) != len(hidden):
            raise ValueError(f"expected one dropout for each of {len(hidden)} hidden blocks, found {rates}")
        layers: list[nn.Module] = []
        width = n_in
        for size, rate in zip(hidden, rates, strict=True):
            layers.append(nn.Linear(width, size))
            layers += [nn.BatchNorm1d(size)] if norm_first else []
            layers.append(ACTIVATIONS[activation]())
            layers += [nn.BatchNorm1d(size)] if batch_norm else []
            layers += [Dropout(rate)] if rate > 0 else []
            width = size
        layers.append(nn.Linear(width, n_out))
        if output_activation != "none":
            layers.append(ACTIVATIONS[output_activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Rows x ``n_in`` → rows x ``n_out``."""
        return self.layers(x)


class SkipBlock(nn.Module):
    r"""Two linear maps from ``n_in`` to ``size`` features, the second one with a skip connection.

    .. math:: h_0 = \mathrm{relu}(W_0 x + b_0), \qquad
        h = \mathrm{relu}(W\,\mathrm{BatchNorm}(\mathrm{dropout}(h_0)) + b + h_0)

    Source: the encoder of JAE (team Amateur, NeurIPS 2021 competition, its code).
    """

    def __init__(self, n_in: int, size: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(n_in, size)
        self.second = nn.Sequential(Dropout(dropout), nn.BatchNorm1d(size), nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Rows x ``n_in`` → rows x ``size``."""
        start = torch.relu(self.first(x))
        return torch.relu(self.second(start) + start)


def skip_network(n_in: int, n_out: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """A `SkipBlock` of each width in ``hidden``, then Linear → ReLU."""
    widths = [n_in, *hidden]
    blocks = [SkipBlock(a, b, dropout) for a, b in zip(widths[:-1], hidden, strict=True)]
    return nn.Sequential(*blocks, nn.Linear(widths[-1], n_out), nn.ReLU())
