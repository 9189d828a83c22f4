"""scMoGNN for joint embedding: propagated states of both modalities, an autoencoder with named blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scmobench.graph.propagation import standardised
from scmobench.models.base import Model
from scmobench.models.scmognn.embed_network import UNKNOWN, EmbedModule, EmbedSettings
from scmobench.models.scmognn.reduction import COMPONENTS, Reduction, layer_states
from scmobench.training.cells import fit_cells, in_chunks
from scmobench.training.fit import TrainerSettings
from scmobench.training.validation import Kind, validation_split
from scmobench.types import EmbeddingData

MAX_DIMENSIONS = 100
CYCLE_SCORES = ("S_score", "G2M_score")


@dataclass(kw_only=True)
class ScMoGNNEmbedding(EmbedSettings, Model):
    """All cells in one space: propagated states of both modalities through a supervised autoencoder.

    Both modalities are reduced and their batches brought together (`Reduction`), put side by side,
    standardised and propagated without parameters (`graph.propagation`). `EmbedModule` is trained on the
    training cells and their labels. The embedding is the encoder's whole output, in this order: cell-type
    logits (as many as training types), batch block (as many as training batches), two cell-cycle
    scores, free dimensions. A block without labels or weight is left out; so is the batch block of a
    single batch. Without both label terms, or without labels in the data, the method is not
    label-supervised and has ``free_unsupervised`` free dimensions instead of ``free``.

    Source: Wen et al., KDD 2022. Defaults are its settings for GEX-ADT. Deviations:

    - Centring by batch and Harmony are not in the source (off by default, on in conf/model).
    - The last ReLU of the published decoder is off by default, because its target has both signs.
    - The layer weights of the best epoch are restored with the other parameters.
    - Only labels of training cells are seen.
    - A single training batch has no batch block (published: one dimension driven to zero).
    - Without labels there are more free dimensions (``free_unsupervised``).
    """

    # inputs, see `Reduction`
    components: Mapping[str, int] = field(default_factory=COMPONENTS.copy)
    zscore: bool = False
    center_batches: bool = False
    log_svd: bool = False
    harmony_theta: float = 0.0
    # graph
    layers: int = 3  # L of the propagation; layers `first_layer` … L are kept and mixed
    first_layer: Literal[1, 2] = 2  # as published; 1 keeps the standardised inputs as well (a deviation)
    propagation: bool = True  # False: the encoder reads the standardised inputs themselves
    # one graph with both modalities (the paper); separate: one each (maintained port)
    graph: Literal["joint", "separate"] = "joint"
    # LSI and propagation also see the test cells. False: fit on the training cells only, and propagate all
    # cells together at prediction; `harmony_theta` then corrects them anew, so that the encoder reads other
    # values of the training cells than it was fitted to
    transductive: bool = True
    # network
    free: int = 5
    free_unsupervised: int = 32
    # training
    batch_size: int = 512
    max_epochs: int = 60
    patience: int = 10
    validation: Kind = "random"  # kind of the held-out cells, see `validation_cells`
    validation_share: float = 0.1
    trainer: TrainerSettings | None = None

    def __post_init__(self) -> None:
        self.label_supervised = self.cell_type_weight > 0 or self.cell_cycle_weight > 0

    def fit(self, data: EmbeddingData, seed: int) -> "ScMoGNNEmbedding":
        self.notes: list[str] = []
        scaling = {n: getattr(self, n) for n in ("zscore", "center_batches", "log_svd", "harmony_theta")}
        sides = (data.mod1, data.mod2)
        self.reductions = [Reduction(self.components, seed=seed, **scaling).fit(side) for side in sides]
        is_train = data.mod1.obs["is_train"].to_numpy(dtype=bool)
        cells = data.mod1.obs[is_train]
        states = torch.from_numpy(self._states(data)[:, is_train])
        cell_type, cycle = self._cell_types(data.labels, cells), self._cycle_scores(data.labels, cells)
        self.blocks = self._sizes(cells, cell_type, cycle)
        fitted, held_out = validation_split(cells, self.validation, self.validation_share, seed)
        size = min(self.batch_size, len(fitted))
        self.module, self.fitted = fit_cells(
            lambda: EmbedModule(states, cell_type, cycle, blocks=self.blocks, batch_size=size, settings=self),
            fitted,
            held_out,
            self,
            batch_size=size,
            seed=seed,
            mode="min",
        )
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x all blocks (see the class), float32."""
        states = torch.from_numpy(self._states(data))
        self.module.cpu().eval().set_states(states)
        return in_chunks(self.module, states.shape[1])

    def report(self) -> dict[str, Any]:
        notes = [*self.notes, *(note for r in self.reductions for note in r.notes)]
        weights = self.module.mixer.rounded()
        return self.fitted.summary(self.module, notes) | {"blocks": self.blocks, "layer_weights": weights}

    def _states(self, data: EmbeddingData) -> np.ndarray:
        """Layers x all cells x features of both modalities."""
        reduced = [r.transform(m) for r, m in zip(self.reductions, (data.mod1, data.mod2), strict=True)]
        if self.graph == "joint":
            reduced = [standardised(np.hstack(reduced))]
        kept = self.layers, self.propagation, self.first_layer
        return np.concatenate([layer_states(r, *kept) for r in reduced], axis=2)

    def _sizes(self, cells: pd.DataFrame, cell_type: Tensor, cycle: Tensor) -> dict[str, int]:
        """Dimensions of the blocks: one for each training type and batch; none for a single batch."""
        batches = cells["batch"].nunique() if self.regulariser_weight > 0 else 0
        if batches == 1:
            self.notes.append("one training batch: the batch block and its term are dropped")
            batches = 0
        types = int(cell_type.max()) + 1 if len(cell_type) else 0
        # as the record says it: what was learned from
        self.label_supervised = bool(types or cycle.shape[1])
        free = self.free if self.label_supervised else self.free_unsupervised
        blocks = {"cell_type": types, "batch": batches, "cycle": cycle.shape[1], "free": free}
        if sum(blocks.values()) > MAX_DIMENSIONS:
            raise ValueError(
                f"expected at most {MAX_DIMENSIONS} dimensions, found {blocks}: lower `free`, "
                "or drop the batch block with regulariser_weight=0"
            )
        return blocks

    def _cell_types(self, labels: pd.DataFrame | None, cells: pd.DataFrame) -> Tensor:
        """Code of each training cell's type; all are `UNKNOWN` if the term is left out."""
        if self.cell_type_weight > 0 and labels is not None and "cell_type" in labels:
            known = labels["cell_type"].reindex(cells.index).astype("string")
            return torch.from_numpy(pd.factorize(known, sort=True)[0].astype(np.int64))
        if self.cell_type_weight > 0:
            self.notes.append("no cell types: their term and block are dropped")
        return torch.full((len(cells),), UNKNOWN)

    def _cycle_scores(self, labels: pd.DataFrame | None, cells: pd.DataFrame) -> Tensor:
        """Training cells x (S, G2M), or no columns if either is unknown or the term is left out."""
        if self.cell_cycle_weight > 0 and labels is not None and set(CYCLE_SCORES) <= set(labels):
            scores = labels[list(CYCLE_SCORES)].reindex(cells.index)
            return torch.from_numpy(scores.to_numpy(dtype=np.float32))
        if self.cell_cycle_weight > 0:
            self.notes.append("no S_score and G2M_score: their term and block are dropped")
        return torch.empty((len(cells), 0))
