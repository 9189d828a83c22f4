"""Regression between SVDs: the cells that an SVD learns from, and the error of scores projected back."""

import numpy as np
import scipy.sparse as sp
from sklearn.utils import gen_batches

from scmobench.data.preprocess import as_csr
from scmobench.data.reduce import SVD
from scmobench.types import PredictionData

CHUNK = 2048  # cells
Bounds = tuple[float, float | None]


def input_cells(data: PredictionData) -> sp.csr_matrix:
    """mod1 of the cells that an SVD may learn from: training cells, then test cells if present."""
    if data.test_mod1 is None:
        return data.train_mod1.X
    return sp.vstack([data.train_mod1.X, data.test_mod1.X], format="csr")


def bounds(data: PredictionData) -> Bounds:
    """Least and greatest value of a target: 0 or training's least; 1 for open or closed peaks, else None."""
    lowest, highest = min(0.0, float(data.train_mod2.X.min())), float(data.train_mod2.X.max())
    return lowest, 1.0 if data.subtask.endswith("2ATAC") and highest <= 1 else None


def projected_rmse(scores: np.ndarray, svd: SVD, truth: sp.spmatrix, limits: Bounds) -> float:
    """RMSE of SVD scores (cells x components) projected back to features and clipped to ``limits``.

    ``truth`` (cells x features) is made dense a chunk of cells at a time.
    """
    truth, total = as_csr(truth), 0.0
    for part in gen_batches(len(scores), CHUNK):
        error = np.clip(svd.inverse_transform(scores[part]), *limits)
        error -= truth[part].toarray()
        total += float(np.vdot(error, error))
    return float(np.sqrt(total / (truth.shape[0] * truth.shape[1])))
