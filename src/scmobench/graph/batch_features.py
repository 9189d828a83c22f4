"""Nine numbers that describe a batch, given to each of its cells."""

from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from scmobench.data.preprocess import as_csr

NAMES = ("mean", "sd", "q25", "q50", "q75", "max", "n_nonzero_thousands", "nonzero_mean", "nonzero_sd")
CHUNK = 1 << 17  # entries worked on at a time: what a core's cache holds


def cell_statistics(X: sp.csr_matrix) -> np.ndarray:
    """The nine numbers of each cell, cells x 9, float64, in the order of `NAMES`.

    Mean and standard deviation over all features; quartiles (linear, as numpy's), mean and
    standard deviation of the non-zero values; all zero for a cell without non-zero values. Source: scMoGNN
    (Wen et al. 2022), its code.
    """
    X = as_csr(X)
    cuts = [0]
    while cuts[-1] < X.shape[0]:
        stop = int(np.searchsorted(X.indptr, X.indptr[cuts[-1]] + CHUNK, side="right")) - 1
        cuts.append(min(max(stop, cuts[-1] + 1), X.shape[0]))

    parts = [np.zeros((0, len(NAMES)))]
    for first, last in pairwise(cuts):  # threads do not help: each row's sort needs the interpreter
        values = X.data[X.indptr[first] : X.indptr[last]]
        parts.append(_statistics(values, np.diff(X.indptr[first : last + 1]), X.shape[1]))
    return np.concatenate(parts)


def _statistics(values: np.ndarray, counts: np.ndarray, n_features: int) -> np.ndarray:
    """`cell_statistics` of rows whose stored values follow one another."""
    result = np.zeros((len(counts), len(NAMES)))
    n = counts[counts > 0]
    if len(n) == 0:
        return result
    start = np.cumsum(n) - n
    values = values.copy()
    for first, stop in zip(start.tolist(), (start + n).tolist(), strict=True):
        values[first:stop].sort()  # numpy's vectorised sort: the whole cost of the quartiles
    exact = values.astype(np.float64)
    sums = np.add.reduceat(exact, start)
    squares = np.add.reduceat(np.multiply(exact, exact, out=exact), start)
    mean, nonzero_mean = sums / n_features, sums / n
    spread = np.maximum(squares / n_features - mean**2, 0)
    nonzero_spread = np.maximum(squares / n - nonzero_mean**2, 0)
    largest = values[start + n - 1]
    largest = np.where(n < n_features, np.maximum(largest, 0), largest)  # zeros are values too
    quartiles = [_quantile(values, start, n, q) for q in (0.25, 0.5, 0.75)]
    columns = [mean, np.sqrt(spread), *quartiles, largest, n / 1000, nonzero_mean, np.sqrt(nonzero_spread)]
    result[counts > 0] = np.stack(columns, axis=1)
    return result


def _quantile(values: np.ndarray, start: np.ndarray, n: np.ndarray, q: float) -> np.ndarray:
    """Quantile q of runs of n sorted values, by numpy's linear rule."""
    place = q * (n - 1)
    below = np.floor(place).astype(np.int64)
    low = values[start + below].astype(np.float64)
    high = values[start + np.minimum(below + 1, n - 1)].astype(np.float64)
    return low + (high - low) * (place - below)


def batch_features(X: sp.csr_matrix, batches: np.ndarray) -> np.ndarray:
    """`cell_statistics` of ``X`` (cells x features), averaged over each cell's batch: cells x 9, float32."""
    statistics = cell_statistics(X)
    _, member = np.unique(np.asarray(batches, dtype=str), return_inverse=True)
    sizes = np.bincount(member)
    sums = np.stack([np.bincount(member, column, len(sizes)) for column in statistics.T], axis=1)
    return (sums / sizes[:, None])[member].astype(np.float32)
