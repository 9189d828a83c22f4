"""Modality prediction: errors and correlations between a true and a predicted cells x features matrix.

Every function takes the truth T and the prediction P (n cells x m features, dense or sparse). Matrices are
read in blocks of rows, so that a large sparse one is never dense as a whole. Source: the competition's
`predict_modality` metrics (Luecken et al. 2021, NeurIPS datasets track).

Errors are defined for all finite matrices. The correlation of two rows is 0 if one of them is constant, as in
the competition. If no row of the truth varies (for example with one feature), every prediction would score 0,
so correlations raise `NotApplicable`.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata

from scmobench.types import NotApplicable

Matrix = np.ndarray | sp.spmatrix | sp.sparray
BLOCK = 1 << 22  # values of one matrix that are dense at once (32 MB in float64)


def rmse(truth: Matrix, prediction: Matrix) -> float:
    """Root mean squared error, sqrt(sum (T - P)^2 / (n m)); the competition's ranking metric."""
    return float(np.sqrt(squared_error_per_cell(truth, prediction).mean()))


def mae(truth: Matrix, prediction: Matrix) -> float:
    """Mean absolute error, sum |T - P| / (n m)."""
    return float(_per_row(lambda t, p: np.abs(t - p).mean(axis=1), truth, prediction).mean())


def mean_pearson_per_cell(truth: Matrix, prediction: Matrix) -> float:
    """Mean over cells of the Pearson correlation across features."""
    return float(pearson_per_cell(truth, prediction).mean())


def mean_pearson_per_gene(truth: Matrix, prediction: Matrix) -> float:
    """Mean over features of the Pearson correlation across cells."""
    return float(pearson_per_gene(truth, prediction).mean())


def mean_spearman_per_cell(truth: Matrix, prediction: Matrix) -> float:
    """Mean over cells of the Spearman correlation across features."""
    return float(spearman_per_cell(truth, prediction).mean())


def mean_spearman_per_gene(truth: Matrix, prediction: Matrix) -> float:
    """Mean over features of the Spearman correlation across cells."""
    truth, prediction = _varying(truth, prediction, axis=0)
    return float(spearman_per_cell(truth.T, prediction.T).mean())


def overall_pearson(truth: Matrix, prediction: Matrix) -> float:
    """Pearson correlation of the two flattened matrices."""
    return _pearson_flat(*_varying(truth, prediction))


def overall_spearman(truth: Matrix, prediction: Matrix) -> float:
    """Spearman correlation of the two flattened matrices (ties share their mean rank)."""
    return _pearson_flat(*(_centred_ranks(matrix) for matrix in _varying(truth, prediction)))


def squared_error_per_cell(truth: Matrix, prediction: Matrix) -> np.ndarray:
    """Mean squared error of each cell across features, length n."""
    return _per_row(lambda t, p: np.square(t - p).mean(axis=1), truth, prediction)


def pearson_per_cell(truth: Matrix, prediction: Matrix) -> np.ndarray:
    """Pearson correlation of each cell across features, length n."""
    return _per_row(_pearson_rows, *_varying(truth, prediction, axis=1))


def pearson_per_gene(truth: Matrix, prediction: Matrix) -> np.ndarray:
    """Pearson correlation of each feature across cells, length m."""
    truth, prediction = _varying(truth, prediction, axis=0)
    return pearson_per_cell(truth.T, prediction.T)


def spearman_per_cell(truth: Matrix, prediction: Matrix) -> np.ndarray:
    """Spearman correlation of each cell across features, length n."""
    both = _varying(truth, prediction, axis=1)
    return _per_row(lambda t, p: _pearson_rows(rankdata(t, axis=1), rankdata(p, axis=1)), *both)


def _check(truth: Matrix, prediction: Matrix) -> None:
    if truth.shape != prediction.shape or len(truth.shape) != 2 or 0 in truth.shape:
        raise ValueError(
            f"expected truth and prediction of one non-empty shape (cells x features), found "
            f"{truth.shape} and {prediction.shape}; check the order of axes and the test cells"
        )


def _varying(truth: Matrix, prediction: Matrix, axis: int | None = None) -> tuple[Matrix, Matrix]:
    """Both matrices, if the truth varies along the axis (None: as a whole) anywhere."""
    _check(truth, prediction)
    low, high = truth.min(axis=axis), truth.max(axis=axis)
    if sp.issparse(low):
        low, high = low.toarray(), high.toarray()
    if not (low < high).any():
        if axis is None:
            raise NotApplicable("all values of the truth are equal")
        rows, columns = ("feature", "cells") if axis == 0 else ("cell", "features")
        raise NotApplicable(f"no {rows} of the truth varies across {columns}")
    return truth, prediction


def _blocks(truth: Matrix, prediction: Matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Dense float64 blocks of whole rows of both matrices."""
    _check(truth, prediction)
    truth, prediction = (x.tocsr() if sp.issparse(x) else x for x in (truth, prediction))
    rows = max(1, BLOCK // truth.shape[1])
    for start in range(0, truth.shape[0], rows):
        both = (x[start : start + rows] for x in (truth, prediction))
        t, p = (x.toarray() if sp.issparse(x) else np.asarray(x) for x in both)
        yield t.astype(np.float64, order="C"), p.astype(np.float64, order="C")


def _per_row(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray], truth: Matrix, prediction: Matrix
) -> np.ndarray:
    return np.concatenate([score(t, p) for t, p in _blocks(truth, prediction)])


def _pearson_rows(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    # Rounding leaves a constant row with a variance of about 1e-34, so constancy is tested on the values.
    varies = (np.ptp(t, axis=1) > 0) & (np.ptp(p, axis=1) > 0)
    t = t - t.mean(axis=1, keepdims=True)
    p = p - p.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.einsum("ij,ij->i", t, t) * np.einsum("ij,ij->i", p, p))
    together = np.einsum("ij,ij->i", t, p)
    # Variances that underflow leave a scale of 0.
    return np.where(varies & (scale > 0), together / np.where(scale > 0, scale, 1.0), 0.0)


def _pearson_flat(truth: Matrix, prediction: Matrix) -> float:
    size = truth.shape[0] * truth.shape[1]
    if any(x.min() == x.max() for x in (truth, prediction)):
        return 0.0
    mean_t, mean_p = (float(x.sum(dtype=np.float64)) / size for x in (truth, prediction))
    tt = pp = tp = 0.0
    for t, p in _blocks(truth, prediction):
        t -= mean_t
        p -= mean_p
        tt, pp, tp = tt + np.vdot(t, t), pp + np.vdot(p, p), tp + np.vdot(t, p)
    return float(tp / np.sqrt(tt * pp)) if tt > 0 and pp > 0 else 0.0


def _centred_ranks(matrix: Matrix) -> Matrix:
    """Ranks of all values of a matrix less the rank of zero, as a matrix of the same kind.

    The shift changes no correlation, and it keeps the ranks of a sparse matrix sparse: only stored values
    are sorted, and the others are one block of ties.
    """
    size = matrix.shape[0] * matrix.shape[1]
    if not sp.issparse(matrix):
        values = np.asarray(matrix)
        return (rankdata(values, axis=None) - (size + 1) / 2).reshape(values.shape)
    ranked = sp.csr_matrix(matrix, copy=True)
    ranked.sum_duplicates()
    ranked.eliminate_zeros()
    below, absent = int((ranked.data < 0).sum()), size - ranked.nnz
    ranks = rankdata(ranked.data) + np.where(ranked.data > 0, absent, 0)
    ranked.data = ranks - (below + (absent + 1) / 2)
    return ranked
