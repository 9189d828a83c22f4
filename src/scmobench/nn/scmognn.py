"""scMoGNN's network for modality prediction: layer-0 embeddings, convolutions, readout."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmobench.nn.conv import ACTIVATIONS, CellFeatureConv, ConvSettings, normalisation
from scmobench.nn.noise import CoarseDropout
from scmobench.nn.sparse import Operator

BATCH_DROPOUT = 0.2  # on the encoded batch features, as published


class GraphTensors(nn.Module):
    """The graph as the network takes it.

    Parameters
    ----------
    matrix : operator, cells x features.
    pathway : operator, features x features, or None.
    batch_features : cells x numbers, or None.
    cell_inputs : cells x components that describe each cell (SVD), or None.
    feature_index : which of the network's features the columns are; None for all, in order.
    """

    def __init__(
        self,
        matrix: Operator,
        pathway: Operator | None = None,
        batch_features: Tensor | None = None,
        cell_inputs: Tensor | None = None,
        feature_index: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.matrix, self.pathway = matrix, pathway
        self.register_buffer("batch_features", batch_features, persistent=False)
        self.register_buffer("cell_inputs", cell_inputs, persistent=False)
        self.register_buffer("feature_index", feature_index, persistent=False)


@dataclass(kw_only=True)
class NetworkSettings(ConvSettings):
    """Settings of `ScMoGNN`, with those of its layers."""

    hidden: int = 48  # length of a state
    layers: int = 4
    embedding_blocks: int = 1  # 1: the embedding alone; each further one adds a block for cells and features
    readout: Literal["weighted_sum", "cat", "last"] = "weighted_sum"
    readout_layers: Literal[1, 2] = 1
    residual: Literal["add", "cat", "none"] = "cat"
    initial_residual: bool = True
    dropout: float = 0.2


def _embedding_blocks(settings: NetworkSettings) -> nn.Sequential:
    """Further blocks after the first embedding: Linear, activation, normalisation, dropout."""
    parts: list[nn.Module] = []
    for _ in range(settings.embedding_blocks - 1):
        parts += [nn.Linear(settings.hidden, settings.hidden), ACTIVATIONS[settings.activation]()]
        parts += [normalisation(settings.norm, settings.hidden), CoarseDropout(settings.dropout)]
    return nn.Sequential(*parts)


class ScMoGNN(nn.Module):
    r"""Targets of cells from the cell-feature graph (Wen et al. 2022, section 4).

    H^0: features leaky_relu(embedding); cells leaky_relu(one shared vector) + leaky_relu(
    dropout(Linear(batch features))). Then L layers, with the residuals

    ``add``   H^{l+1} = earlier + layer(H^l)     (the paper)
    ``cat``   H^{l+1} = layer([H^l, earlier])    (the published runs; the first layer takes H^0 alone)
    ``none``  H^{l+1} = layer(H^l)

    where earlier is H^0 with ``initial_residual``, else the state one layer back (H^l for ``add``,
    H^{l-1} for ``cat``). The published code's ``add`` adds before the layer; here as in the paper.

    Readout: ``weighted_sum`` sum_l softmax(w)_l H^l, ``cat`` [H^1 … H^L], ``last`` H^L; then one or
    two linear layers. Only cells are read, so the last layer leaves features alone.

    Parameters
    ----------
    features, targets : number of input and output features.
    batch_features, cell_inputs : how many numbers a cell has of each kind (0: none).
    pathway : there are feature-feature edges.
    settings : `NetworkSettings`.
    """

    def __init__(
        self,
        features: int,
        targets: int,
        *,
        batch_features: int = 0,
        cell_inputs: int = 0,
        pathway: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = given = NetworkSettings(**settings)
        hidden, layers = given.hidden, given.layers
        self.feature_embedding = nn.Parameter(torch.randn(features, hidden))
        self.cell_embedding = None if cell_inputs else nn.Parameter(torch.randn(hidden))
        self.cell_encoder = nn.Linear(cell_inputs, hidden) if cell_inputs else None
        self.batch_encoder = nn.Linear(batch_features, hidden) if batch_features else None
        self.batch_dropout = CoarseDropout(BATCH_DROPOUT)
        self.feature_blocks = _embedding_blocks(given)
        self.cell_blocks = _embedding_blocks(given)
        self.convs = nn.ModuleList()
        for layer in range(layers):
            width = hidden * 2 if given.residual == "cat" and layer > 0 else hidden
            last = layer == layers - 1
            self.convs.append(CellFeatureConv(width, hidden, given, pathway=pathway, features=not last))
        self.layer_logits = nn.Parameter(torch.zeros(layers)) if given.readout == "weighted_sum" else None
        width = hidden * layers if given.readout == "cat" else hidden
        self.head = nn.Sequential()
        if given.readout_layers == 2:
            activation = ACTIVATIONS[given.activation]()
            self.head.extend([nn.Linear(width, width), activation, CoarseDropout(given.dropout)])
        self.head.append(nn.Linear(width, targets))

    def embed(self, graph: GraphTensors) -> tuple[Tensor, Tensor]:
        """H^0 of cells (cells x hidden) and of features (features x hidden)."""
        embedding = self.feature_embedding
        if graph.feature_index is not None:
            embedding = embedding[graph.feature_index]
        if self.cell_encoder is not None:
            cells = functional.leaky_relu(self.cell_encoder(graph.cell_inputs))
        else:
            cells = functional.leaky_relu(self.cell_embedding).expand(graph.matrix.shape[0], -1)
        if self.batch_encoder is not None:
            encoded = self.batch_dropout(self.batch_encoder(graph.batch_features))
            cells = cells + functional.leaky_relu(encoded)
        return self.cell_blocks(cells), self.feature_blocks(functional.leaky_relu(embedding))

    def states(self, graph: GraphTensors) -> list[Tensor]:
        """States of the cells after each layer, each cells x hidden."""
        history = [self.embed(graph)]
        for layer, conv in enumerate(self.convs):
            state = history[-1]
            inputs = state
            if self.settings.residual == "cat" and layer > 0:
                earlier = history[0 if self.settings.initial_residual else -2]
                inputs = tuple(torch.cat(pair, 1) for pair in zip(state, earlier, strict=True))
            cells, features = conv(*inputs, state[1], graph.matrix, graph.pathway)
            if self.settings.residual == "add":
                earlier = history[0 if self.settings.initial_residual else -1]
                cells = earlier[0] + cells
                features = earlier[1] + features if features is not None else None
            history.append((cells, features))
        return [cells for cells, _ in history[1:]]

    def forward(self, graph: GraphTensors, cells: Tensor | slice = slice(None)) -> Tensor:
        """Targets of these cells of the graph (all), cells x targets; all cells pass messages."""
        states = self.states(graph)
        if self.settings.readout == "weighted_sum":
            weights = self.layer_logits.softmax(0)
            read = sum(w * h for w, h in zip(weights, states, strict=True))
        else:
            read = torch.cat(states, 1) if self.settings.readout == "cat" else states[-1]
        return self.head(read[cells] if isinstance(cells, slice) else read.index_select(0, cells))
