"""scMoGNN for modality prediction: a convolution on the cell-feature graph, read out at the cells."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch.utils.data import DataLoader

from scmobench.data.preprocess import NoTrendError, as_csr, highly_variable
from scmobench.data.reduce import SVD
from scmobench.graph.batch_features import NAMES as BATCH_NUMBERS
from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.graph.pathway import feature_edges
from scmobench.models.base import Model
from scmobench.models.scmognn.fit_memory import FitMemory
from scmobench.models.scmognn.predict_network import PredictModule
from scmobench.nn.scmognn import NetworkSettings, ScMoGNN
from scmobench.training.fit import TrainerSettings, train
from scmobench.training.resident import on_host
from scmobench.training.surroundings import seeded, threads_kept
from scmobench.training.validation import Kind, validation_cells
from scmobench.types import PredictionData

SVD_COMPONENTS = 100
NETWORK = tuple(field.name for field in fields(NetworkSettings))


@dataclass(kw_only=True)
class ScMoGNNPrediction(NetworkSettings, Model):
    """Targets of cells from the weighted graph of cells and input features.

    Source: Wen et al., "Graph Neural Networks for Multimodal Single-Cell Data Integration", KDD
    2022, and its competition entry. Deviations:

    - Validation never sees the test targets.
    - All parameters of the best epoch are restored, and every random draw comes from the seed.
    - The loss is the RMSE, as in the paper. (The published code has the MSE, which has the same minimum on
      the whole graph.)
    - With ``batch_size``, a step takes the RMSE over its own cells, and features are means over these cells.
    - With ``feature_share`` below 1, cells are means over the features that are drawn. Features with many
      edges are drawn more often.
    """

    transductive: bool = True  # test cells' inputs are nodes of the training graph, not only at prediction
    # feature-feature edges of GEX inputs, see `feature_edges`; a table serves any modality
    pathway: str | None = None
    pathway_weight: Literal["cosine", "pearson", "one"] = "cosine"
    pathway_threshold: float | None = None
    pathway_neighbours: int = 10
    # give each cell the nine numbers of its batch. With a single training batch they are the same for all
    # training cells, and shift the cells of another batch in a way that was never learned
    batch_features: bool = True
    # shared: one learned vector; svd: 100 components through a linear layer. The SVD is of the training
    # cells: one of all cells spends components on what separates the test batch
    cell_init: Literal["shared", "svd"] = "shared"
    # keep this many most variable features (seurat_v3 on training counts, or plain variance if its trend
    # cannot be fitted, as with peaks open in single cells); None: all
    n_top_features: int | None = None
    learning_rate: float = 1e-2  # of AdamW
    weight_decay: float = 1e-5
    decay_start: int = 1200  # after this epoch the rate is multiplied by 0.99 every 15 epochs
    max_epochs: int = 1500
    min_epochs: int = 0
    patience: int = 100  # evaluations without a better one before training stops
    evaluate_every: int = 1  # epochs
    # decay of a mean of the parameters over the steps, which validates and predicts
    # (`training.weight_averaging`); 0: the parameters themselves, as published
    weight_averaging: float = 0.0
    validation: Kind = "random"  # kind of the held-out cells, see `validation_cells`
    validation_share: float = 0.15
    # cells in a step; None: the whole graph is one step. Evaluation and prediction take the whole graph
    batch_size: int | None = None
    feature_share: float = 1.0  # share of the features in a step, drawn by their number of edges
    trainer: TrainerSettings | None = None

    def __post_init__(self) -> None:
        if self.norm == "batch" and self.batch_size == 1:  # the statistics are of a step's cells
            raise ValueError("expected batch_size of at least 2 with norm=batch, found 1")

    def fit(self, data: PredictionData, seed: int) -> "ScMoGNNPrediction":
        held_out = validation_cells(data.train_mod1.obs, self.validation, self.validation_share, seed)
        FitMemory.of(data, len(held_out), self).check()
        self._choose_inputs(data.train_mod1, seed)
        graph = self._graph(data)
        cells = graph.matrix.shape[0]
        target = torch.from_numpy(as_csr(data.train_mod2.X).toarray())
        size = min(self.batch_size or cells, cells)
        whole = size == cells and self.feature_share == 1
        with seeded(seed):
            network = self._network(graph, target.shape[1])
            self.module = PredictModule(network, graph, target, held_out, whole, self)
            del target  # the module holds what it needs of it
            # one cell alone has no batch statistics
            drop = self.norm == "batch" and cells % size == 1 and not whole
            loader = DataLoader(range(1 if whole else cells), size, shuffle=not whole, drop_last=drop)
            on_card = self.module.steps_on_device(torch.arange(cells), size, self.trainer, drop)
            self.fitted = train(
                self.module,
                on_card or on_host(self.module, loader, self.trainer),
                DataLoader(range(1)),
                settings=self.trainer,
                max_epochs=self.max_epochs,
                min_epochs=self.min_epochs,
                patience=self.patience,
                check_val_every_n_epoch=self.evaluate_every,
            )
        self.module.release()
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        """On the joint graph of training and test cells; clipped at 0, or at training's lowest value."""
        joint = self._graph(data)
        self.module.eval()
        with torch.no_grad():
            predicted = self.module.network(joint.tensors(), slice(data.train_mod1.n_obs, None))
        return predicted.clamp(min=self.module.lowest).numpy()

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.module.network, self.notes) | {"product": self.module.product}

    def _choose_inputs(self, cells: AnnData, seed: int) -> None:
        """What the training cells decide: features that are kept, edges among them, their SVD; notes."""
        self.columns, notes = np.arange(cells.n_vars), []
        if self.n_top_features is not None:
            values = cells.layers.get("counts", cells.X)
            with threads_kept():
                try:
                    self.columns = highly_variable(values, self.n_top_features, "seurat_v3")
                except NoTrendError:
                    notes.append("seurat_v3 found no trend: the features of highest variance are taken")
                    self.columns = highly_variable(values, self.n_top_features, "variance")
            if "counts" not in cells.layers:
                notes.append("most variable features of normalised values: there are no raw counts")
        chosen = (self.pathway, self.pathway_weight, self.pathway_threshold, self.pathway_neighbours)
        self.edges, told = feature_edges(self._chosen(cells.X), cells.var.iloc[self.columns], *chosen, seed)
        self.notes = told + notes
        if self.batch_features and cells.obs["batch"].nunique() == 1:
            self.notes.append(
                "one training batch: batch features are the same for all cells that are learned from; "
                "batch_features=false leaves them out"
            )
        self.svd = SVD(SVD_COMPONENTS, seed) if self.cell_init == "svd" else None
        if self.svd is not None:
            self.svd.fit(self._chosen(cells.X))

    def _chosen(self, values: sp.csr_matrix) -> sp.csr_matrix:
        """The features that are kept; the matrix itself where these are all, since each copy is large."""
        values = as_csr(values)
        return values if len(self.columns) == values.shape[1] else values[:, self.columns]

    def _network(self, graph: CellFeatureGraph, targets: int) -> ScMoGNN:
        return ScMoGNN(
            len(self.columns),
            targets,
            pathway=self.edges is not None,
            batch_features=len(BATCH_NUMBERS) if self.batch_features else 0,
            cell_inputs=0 if graph.cell_inputs is None else graph.cell_inputs.shape[1],
            **{name: getattr(self, name) for name in NETWORK},
        )

    def _graph(self, data: PredictionData) -> CellFeatureGraph:
        """Training cells, then test cells where ``data`` has them."""
        sides = [data.train_mod1] + ([] if data.test_mod1 is None else [data.test_mod1])
        inputs = sp.vstack([self._chosen(side.X) for side in sides], format="csr")
        batches = np.concatenate([side.obs["batch"].astype(str).to_numpy() for side in sides])
        return CellFeatureGraph.build(
            inputs,
            pathway=self.edges,
            batches=batches if self.batch_features else None,
            cell_inputs=None if self.svd is None else self.svd.transform(inputs),
        )
