"""The competition entry Cajal: marker features and the depth of a cell and of its batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor, nn

from scmobench.data.preprocess import as_csr, row_sums
from scmobench.data.reduce import SVD
from scmobench.models.prediction.networks import Cells, NetworkRegression
from scmobench.nn.mlp import MLP
from scmobench.nn.noise import Dropout
from scmobench.types import PredictionData

DEPTHS = 3  # counts of the cell, and their median and standard deviation over its batch
TARGET_COMPONENTS = 50
SEEN_IN = 0.01  # of the training cells, at least: rarer features explain targets by chance


@dataclass(kw_only=True)
class CajalDepth(NetworkRegression):
    """Predict mod2 by a network on marker features and on how deeply the cell and its batch were sequenced.

    Source: team Cajal of the NeurIPS 2021 competition (first in ATAC2GEX), its code: all inputs
    standardised, each depth covariate 50 times, input dropout, output clipped to the range of the training
    targets. Deviations:

    - The markers are the features that mod2 explains best (`markers`), not differential features of labelled
      cell types, so that no label is used.
    - Inputs are X as normalised, not log counts per million.
    - The output is clipped only at prediction. In training, an output below the range would have no gradient.
    - A depth outside the range of the training cells counts as the nearest depth in this range.
    - All subtasks have the widths of ADT2GEX, because no others are published.
    - The best epoch on held-out cells is kept, not the last one.
    - Few cells are trained in smaller batches.

    The depth covariates of a test cell come from the inputs of its own batch's test cells.
    """

    n_markers: int | None = 300  # input features kept; None: all
    copies: int = 50  # of each depth covariate
    hidden: Sequence[int] = (180, 140, 520)
    dropout: float = 0.2  # of the inputs
    batch_size: int = 1000
    max_epochs: int = 39

    def prepare(self, data: PredictionData, fitted: np.ndarray, seed: int) -> None:
        cells = data.train_mod1
        if "counts" not in cells.layers:
            self.notes.append("depth is the sum of the normalised values: there are no raw counts")
        if cells.obs["batch"].nunique() == 1:
            self.notes.append("one training batch: the batch's median and deviation do not vary")
        sides = (as_csr(side.X)[fitted] for side in (cells, data.train_mod2))
        self.columns = markers(*sides, self.n_markers, seed)

    def inputs(self, cells: AnnData) -> sp.csr_matrix:
        return sp.hstack([as_csr(cells.X)[:, self.columns], depth(cells)], format="csr", dtype=np.float32)

    def build(self, inputs: Cells, targets: Cells) -> nn.Module:
        n_inputs = len(self.columns) + DEPTHS * self.copies
        body = MLP(n_inputs, targets.shape[1], self.hidden, activation="relu")
        bounds = float(targets.min()), float(targets.max())
        return DepthNetwork(body, inputs, self.copies, self.dropout, bounds)


class DepthNetwork(nn.Module):
    """Standardises inputs, repeats the depth covariates, drops inputs out; clips the output after training.

    A depth outside the range of the training cells counts as the nearest one in it, or its copies would
    outweigh all markers.

    Parameters
    ----------
    body : inputs with the copies → targets.
    inputs : training cells x (markers, then depth covariates). Their mean and deviation are kept. An input
        that does not vary becomes 0.
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
        depths = (inputs[:, -DEPTHS:].toarray() - mean[-DEPTHS:]) * scale[-DEPTHS:]
        kept = {"mean": mean, "scale": scale, "least": depths.min(axis=0), "greatest": depths.max(axis=0)}
        for name, values in kept.items():
            self.register_buffer(name, torch.from_numpy(values).float())
        self.body, self.dropout = body, Dropout(dropout)
        self.copies, self.bounds = copies, bounds

    def forward(self, x: Tensor) -> Tensor:
        """Cells x (markers, depth covariates) → cells x targets."""
        x = (x - self.mean) * self.scale
        known, depths = x[:, :-DEPTHS], x[:, -DEPTHS:]
        depths = torch.minimum(torch.maximum(depths, self.least), self.greatest)
        x = torch.cat([known, depths.repeat_interleave(self.copies, dim=1)], dim=1)
        x = self.body(self.dropout(x))
        # clipped in training too, an output below the range in all cells has no gradient
        return x if self.training else x.clamp(*self.bounds)


def depth(cells: AnnData) -> np.ndarray:
    """Total counts of each cell, and their median and standard deviation over its batch: cells x 3."""
    totals = row_sums(as_csr(cells.layers.get("counts", cells.X)))
    batch = cells.obs["batch"].astype(str).to_numpy()
    result = np.stack([totals] * DEPTHS, axis=1)
    for name in np.unique(batch):
        here = batch == name
        result[here, 1], result[here, 2] = np.median(totals[here]), np.std(totals[here])
    return result


def markers(inputs: sp.csr_matrix, targets: sp.csr_matrix, n: int | None, seed: int) -> np.ndarray:
    """Columns of the ``n`` input features that the 50 SVD components of mod2 explain best, ascending.

    Features are ranked by their R² on the components over the training cells. Features seen in fewer than
    1 % of the cells come last.
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
