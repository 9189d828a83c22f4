"""The cell-feature graph convolution of scMoGNN: one relation, and one layer of three relations."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MessagePassing

from scmobench.nn.mixer import Mixer
from scmobench.nn.noise import CoarseDropout
from scmobench.nn.sparse import Kept, Operator

GROUPS = 4  # of channels, for norm=group
ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "prelu": nn.PReLU}


class StateNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` of node states (nodes x channels), as a layer norm of every group of channels.

    The result is the same, about twice as fast on a CPU: PyTorch's own is slow for groups this small.
    """

    def forward(self, x: Tensor) -> Tensor:
        width = self.num_channels // self.num_groups
        groups = functional.layer_norm(x.reshape(-1, width), (width,), eps=self.eps)
        return torch.addcmul(self.bias, groups.view(x.shape), self.weight)


def normalisation(kind: str, size: int) -> nn.Module:
    """Normalisation of node states: in 4 groups of channels, over the layer, over the nodes, or none."""
    if kind == "group" and size % GROUPS:
        raise ValueError(f"expected hidden to be a multiple of {GROUPS} with norm=group, found {size}")
    if kind == "group":
        return StateNorm(GROUPS, size)
    return {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": nn.Identity}[kind](size)


class RelationConv(MessagePassing):
    r"""Messages along one relation of the cell-feature graph.

    .. math:: m_i = W^{self} h_i + \sum_{j \in N(i)} \frac{e_{ji}}{c_{ji}} h_j W + b

    where c is the number of in-neighbours of i (``mean``), or sqrt(deg i * deg j) with degrees counted
    in edges (``gcn``, symmetric). ``sage_gcn`` is the "gcn" of the published code: with c = deg i + 1 and
    one weight for both, :math:`m_i = (h_i + \sum_j e_{ji} h_j) W / c + b`. Edge dropout multiplies e by 0
    with probability p and by 1/(1-p) otherwise; c still counts all neighbours. Source: Wen et al. 2022,
    section 4.2.

    Parameters
    ----------
    source_size, target_size : length of h_j and of h_i.
    size : length of a message.
    fused : multiply by the sparse operator. False gathers and scatters every edge: the reference for tests.

    Shapes
    ------
    source (in-neighbours' side x source_size), target (target nodes x target_size)
    -> target nodes x size. The operator is target x source, or source x target with ``transpose``.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        size: int,
        *,
        aggregation: str = "mean",
        edge_dropout: float = 0.0,
        fused: bool = True,
    ):
        super().__init__(aggr="sum")
        self.aggregation, self.edge_dropout, self.fused = aggregation, edge_dropout, fused
        self.neighbours = nn.Linear(source_size, size, bias=False)
        self.itself = nn.Linear(target_size, size)
        if aggregation == "sage_gcn":
            self.itself.weight = self.neighbours.weight

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        operator: Operator,
        transpose: bool = False,
        kept: Kept | None = None,
    ) -> Tensor:
        """``kept`` fixes the edges that edge dropout keeps; by default they are drawn in training."""
        if kept is None and self.training and self.edge_dropout > 0:
            kept = operator.draw(self.edge_dropout)
        inner, outer = self._scales(operator, transpose)
        if self.aggregation == "sage_gcn":
            target = target * outer
        if kept is not None:
            outer = outer / (1 - self.edge_dropout)
        # A (H W) = (A H) W: the product is cheapest at the narrower width
        narrow_first = self.neighbours.out_features <= self.neighbours.in_features
        x = self.neighbours(source) if narrow_first else source
        x = x if inner is None else x * inner
        if self.fused:
            summed = operator(x, transpose, kept)
        else:
            rows, columns, weight = operator.edges()
            weight = weight if kept is None else weight * operator.mask(kept)
            index = torch.stack((rows, columns) if transpose else (columns, rows))
            summed = self.propagate(index, x=x, weight=weight, size=(len(source), len(target)))
        summed = summed * outer
        return self.itself(target) + (summed if narrow_first else self.neighbours(summed))

    def _scales(self, operator: Operator, transpose: bool) -> tuple[Tensor | None, Tensor]:
        """Factors of sources (None: 1) and of targets that make sums into means."""
        targets, sources = operator.row_counts, operator.column_counts
        if transpose:
            targets, sources = sources, targets
        if self.aggregation == "sage_gcn":
            return None, 1 / (targets[:, None] + 1)
        targets = targets.clamp(min=1)[:, None]
        if self.aggregation == "mean":
            return None, 1 / targets
        return sources.clamp(min=1)[:, None].rsqrt(), targets.rsqrt()

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight[:, None] * x_j


@dataclass(kw_only=True)
class ConvSettings:
    """Settings of a `CellFeatureConv`."""

    mixer: Literal["alpha", "sum", "cat", "attention", "gate", "two_gate"] = "alpha"  # see `Mixer`
    alpha: float | None = 0.5
    norm: Literal["group", "layer", "batch", "none"] = "group"  # of each message, see `normalisation`
    activation: Literal["gelu", "relu", "leaky_relu", "prelu"] = "gelu"
    dropout: float = 0.0  # of the new states
    aggregation: Literal["mean", "gcn", "sage_gcn"] = "mean"  # see `RelationConv`
    edge_dropout: float = 0.0
    fused: bool = True


class CellFeatureConv(nn.Module):
    """One layer on the cell-feature graph: messages, their normalisation, mixing, activation, dropout.

    Cells receive messages from features; features receive them from cells and, with ``pathway``, from other
    features. Each message is normalised by itself before a feature mixes its two.

    Parameters
    ----------
    input_size, size : length of the states that enter and of those that leave.
    pathway : there are feature-feature edges.
    features : compute new feature states; False in a last layer, where only cells are read.
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        settings: ConvSettings,
        *,
        pathway: bool = False,
        features: bool = True,
    ) -> None:
        super().__init__()
        shared = {name: getattr(settings, name) for name in ("aggregation", "edge_dropout", "fused")}
        relations = ["cell"] + ["feature"] * features + ["pathway"] * (features and pathway)
        self.messages = nn.ModuleDict(
            {r: RelationConv(input_size, input_size, size, **shared) for r in relations}
        )
        self.norms = nn.ModuleDict({r: normalisation(settings.norm, size) for r in relations})
        nodes = ["cell"] + ["feature"] * features
        self.activations = nn.ModuleDict({n: ACTIVATIONS[settings.activation]() for n in nodes})
        self.mixer = Mixer(settings.mixer, size, settings.alpha) if "pathway" in relations else None
        self.dropout = CoarseDropout(settings.dropout)

    def forward(
        self,
        cells: Tensor,
        features: Tensor,
        state: Tensor,
        matrix: Operator,
        pathway: Operator | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """New states of cells and of features (None if they are not computed).

        ``matrix`` is cells x features; ``state`` is what the mixer reads of the features (features x size).
        """
        heard = self.norms["cell"](self.messages["cell"](features, cells, matrix))
        new_cells = self.dropout(self.activations["cell"](heard))
        if "feature" not in self.messages:
            return new_cells, None
        mixed = self.norms["feature"](self.messages["feature"](cells, features, matrix, transpose=True))
        if self.mixer is not None:
            related = self.norms["pathway"](self.messages["pathway"](features, features, pathway))
            mixed = self.mixer(state, mixed, related)
        return new_cells, self.dropout(self.activations["feature"](mixed))
