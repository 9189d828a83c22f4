"""The competition entry Cajal: marker features and the depth of a cell and of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor, nn

from scmobench.data.preprocess import as_csr, row_sums
from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.regression import apply_network, capped_batch, fit_network
from scmobench.nn.mlp import MLP
from scmobench.training.fit import TrainerSettings, seeded
from scmobench.training.validation import held_out_cells
from scmobench.types import PredictionData

DEPTH = ("counts of the cell", "median of its batch", "standard deviation of its batch")
TARGET_COMPONENTS = 50
SEEN_IN = 0.01  # of the training cells, at least: rarer features explain targets by chance


class CajalDepth(Model):
    """Predict mod2 by a network on marker features and on how deeply the cell and its batch were sequenced.

    Source: team Cajal of the NeurIPS 2021 competition (first in ATAC2GEX), its code: all inputs
    standardised, each depth covariate 50 times, input dropout, output clipped to the range of the training
    targets. Deviations: the markers, there differential features of the labelled cell types, are those that
    mod2 explains best (`markers`), so that no label is used; inputs are X as normalised, there log counts
    per million; the output is clipped at prediction alone, as one that starts below the range in all cells
    has no gradient; a depth outside the training cells' range counts as its end; the widths, there searched
    for each subtask but published for ADT2GEX alone, are those of ADT2GEX throughout; the best epoch on
    held-out cells is kept, there the last; few cells are trained in smaller batches (``min_steps``).

    The depth covariates of a test cell come from the inputs of its own batch's test cells.

    Parameters
    ----------
    n_markers : input features kept; None: all.
    copies : of each depth covariate.
    hidden, dropout : widths of the hidden layers; dropout of the inputs.
    learning_rate, batch_size, max_epochs, patience : of Adam on the squared error.
    min_steps : steps an epoch; the batch is made smaller to reach it.
    validation_share : of the training cells, held out.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        n_markers: int | None = 300,
        copies: int = 50,
        hidden: Sequence[int] = (180, 140, 520),
        dropout: float = 0.2,
        learning_rate: float = 1e-3,
        batch_size: int = 1000,
        max_epochs: int = 39,
        patience: int | None = None,
        min_steps: int = 1,
        validation_share: float = 0.15,
        trainer: TrainerSettings | None = None,
    ) -> None:
        self.n_markers, self.copies, self.hidden, self.dropout = n_markers, copies, hidden, dropout
        self.learning_rate, self.batch_size, self.min_steps = learning_rate, batch_size, min_steps
        self.length = {"max_epochs": max_epochs, "patience": patience}
        self.validation_share, self.trainer = validation_share, trainer

    def fit(self, data: PredictionData, seed: int) -> CajalDepth:
        cells, targets = data.train_mod1, data.train_mod2.X
        held_out, note = held_out_cells(cells.obs, self.validation_share, seed)
        self.notes = [note]
        if "counts" not in cells.layers:
            self.notes.append("depth is the sum of the normalised values: there are no raw counts")
        if cells.obs["batch"].nunique() == 1:
            self.notes.append(
                "one training batch: the batch's median and deviation say nothing and are left out"
            )
        fitted = np.setdiff1d(np.arange(cells.n_obs), held_out)
        self.columns = markers(as_csr(cells.X)[fitted], as_csr(targets)[fitted], self.n_markers, seed)
        inputs = self._inputs(cells)
        with seeded(seed):
            body = MLP(
                len(self.columns) + len(DEPTH) * self.copies,
                targets.shape[1],
                self.hidden,
                activation="relu",
            )
            bounds = float(targets.min()), float(targets.max())
            self.network = DepthNetwork(body, inputs, self.copies, self.dropout, bounds)
        self.fitted = fit_network(
            self.network,
            inputs,
            targets,
            fitted=fitted,
            held_out=held_out,
            seed=seed,
            batch_size=capped_batch(self.batch_size, len(fitted), self.min_steps),
            learning_rate=self.learning_rate,
            settings=self.trainer,
            **self.length,
        )
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        return apply_network(self.network, self._inputs(data.test_mod1))

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.network, self.notes)

    def _inputs(self, cells: AnnData) -> sp.csr_matrix:
        return sp.hstack([as_csr(cells.X)[:, self.columns], depth(cells)], format="csr", dtype=np.float32)


class DepthNetwork(nn.Module):
    """Standardises inputs, repeats the depth covariates, drops inputs out; clips the output after training.

    A depth outside the training cells' range counts as its end: the 50 copies of it would decide alone.

    Parameters
    ----------
    body : inputs with the copies → targets.
    inputs : training cells x (markers, then depth covariates), whose mean and deviation are kept; an
        input that does not vary becomes 0.
    copies : of each depth covariate.
    bounds : least and greatest output.
    """

    def __init__(
        self, body: nn.Module, inputs: sp.csr_matrix, copies: int, dropout: float, bounds: tuple[float, float]
    ) -> None:
        super().__init__()
        mean, variance = (column.astype(np.float64) for column in mean_variance_axis(inputs, axis=0))
        varies = variance > 1e-10 * np.maximum(mean**2, 1e-10)
        scale = np.divide(1, np.sqrt(variance), out=np.zeros_like(variance), where=varies)
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())
        depths = (inputs[:, -len(DEPTH) :].toarray() - mean[-len(DEPTH) :]) * scale[-len(DEPTH) :]
        self.register_buffer("least", torch.from_numpy(depths.min(axis=0)).float())
        self.register_buffer("greatest", torch.from_numpy(depths.max(axis=0)).float())
        self.body, self.dropout = body, nn.Dropout(dropout)
        self.copies, self.bounds = copies, bounds

    def forward(self, x: Tensor) -> Tensor:
        """Cells x (markers, depth covariates) → cells x targets."""
        x = (x - self.mean) * self.scale
        known, depths = x[:, : -len(DEPTH)], x[:, -len(DEPTH) :]
        depths = torch.minimum(torch.maximum(depths, self.least), self.greatest)
        x = torch.cat([known, depths.repeat_interleave(self.copies, dim=1)], dim=1)
        x = self.body(self.dropout(x))
        # clipped in training too, an output below the range in all cells has no gradient
        return x if self.training else x.clamp(*self.bounds)


def depth(cells: AnnData) -> np.ndarray:
    """Total counts of each cell, and their median and standard deviation over its batch: cells x 3."""
    totals = row_sums(as_csr(cells.layers.get("counts", cells.X)))
    batch = cells.obs["batch"].astype(str).to_numpy()
    result = np.stack([totals, totals, totals], axis=1)
    for name in np.unique(batch):
        here = batch == name
        result[here, 1], result[here, 2] = np.median(totals[here]), np.std(totals[here])
    return result


def markers(inputs: sp.csr_matrix, targets: sp.csr_matrix, n: int | None, seed: int) -> np.ndarray:
    """Columns of the ``n`` input features that the 50 SVD components of mod2 explain best, ascending.

    R² of each feature on the components over the training cells; features seen in fewer than 1 % of
    the cells come last.
    """
    inputs = as_csr(inputs)
    if n is None or n >= inputs.shape[1]:
        return np.arange(inputs.shape[1])
    scores = SVD(TARGET_COMPONENTS, seed).fit_transform(targets).astype(np.float64)
    basis = np.linalg.qr(scores - scores.mean(axis=0))[0]
    variance = mean_variance_axis(inputs, axis=0)[1] * inputs.shape[0]
    explained = np.square(inputs.T @ basis).sum(axis=1)
    share = np.divide(explained, variance, out=np.zeros_like(explained), where=variance > 0)
    share[inputs.getnnz(axis=0) < SEEN_IN * inputs.shape[0]] = -1
    return np.sort(np.argsort(-share, kind="stable")[:n])
