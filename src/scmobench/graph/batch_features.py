"""Nine numbers that describe a batch, given to each of its cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scmobench.data.preprocess import as_csr

NAMES = ("mean", "sd", "q25", "q50", "q75", "max", "n_nonzero_thousands", "nonzero_mean", "nonzero_sd")
CHUNK = 1 << 22  # entries worked on at a time


def cell_statistics(X: sp.csr_matrix) -> np.ndarray:
    """The nine numbers of each cell, cells x 9, float64, in the order of `NAMES`.

    Mean and standard deviation over all features; quartiles (linear, as numpy's), mean and
    standard deviation of the non-zero values; all zero for a cell without any. Source: scMoGNN
    (Wen et al. 2022), its code.
    """
    X = as_csr(X)
    counts = np.diff(X.indptr)
    statistics = np.zeros((X.shape[0], len(NAMES)))
    start = 0
    while start < X.shape[0]:
        stop = int(np.searchsorted(X.indptr, X.indptr[start] + CHUNK, side="right")) - 1
        stop = min(max(stop, start + 1), X.shape[0])
        values = X.data[X.indptr[start] : X.indptr[stop]]
        statistics[start:stop] = _statistics(values, counts[start:stop], X.shape[1])
        start = stop
    return statistics


def _statistics(values: np.ndarray, counts: np.ndarray, n_features: int) -> np.ndarray:
    """`cell_statistics` of rows whose stored values follow one another."""
    n = np.maximum(counts, 1)
    owner = np.repeat(np.arange(len(counts)), counts)
    exact = values.astype(np.float64)
    nonzero_mean = np.bincount(owner, exact, len(counts)) / n
    mean = nonzero_mean * counts / n_features
    squares = np.bincount(owner, (exact - nonzero_mean[owner]) ** 2, len(counts))
    spread = squares + counts * (nonzero_mean - mean) ** 2 + (n_features - counts) * mean**2
    # rows side by side, short ones padded with +inf, so that one call sorts them all
    table = np.full((len(counts), max(int(counts.max(initial=0)), 1)), np.inf, dtype=values.dtype)
    table[np.arange(table.shape[1]) < counts[:, None]] = values
    table.sort(axis=1)
    last = np.take_along_axis(table, (n - 1)[:, None], 1)[:, 0]
    # zeros are values too where a cell has any
    largest = np.where(counts < n_features, np.maximum(last, 0), last)
    quartiles = [_quantile(table, n, q) for q in (0.25, 0.5, 0.75)]
    columns = [mean, np.sqrt(spread / n_features), *quartiles, largest, counts / 1000]
    columns += [nonzero_mean, np.sqrt(squares / n)]
    result = np.stack(columns, axis=1)
    result[counts == 0] = 0
    return result


def _quantile(table: np.ndarray, n: np.ndarray, q: float) -> np.ndarray:
    """Quantile q of the first n values of each sorted row, by numpy's linear rule."""
    place = q * (n - 1)
    below = np.floor(place).astype(np.int64)
    low = np.take_along_axis(table, below[:, None], 1)[:, 0].astype(np.float64)
    high = np.take_along_axis(table, np.minimum(below + 1, n - 1)[:, None], 1)[:, 0].astype(np.float64)
    share = place - below
    with np.errstate(invalid="ignore"):  # rows without values hold inf and are zeroed later
        return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def batch_features(X: sp.csr_matrix, batches: np.ndarray) -> np.ndarray:
    """`cell_statistics` averaged over each batch and given to its cells: cells x 9, float32.

    Parameters
    ----------
    X : cells x features, normalised.
    batches : batch of each cell.
    """
    if len(batches) != X.shape[0]:
        raise ValueError(f"expected a batch for each of {X.shape[0]} cells, found {len(batches)}")
    statistics = cell_statistics(X)
    _, member = np.unique(np.asarray(batches, dtype=str), return_inverse=True)
    sizes = np.bincount(member)
    sums = np.stack([np.bincount(member, column, len(sizes)) for column in statistics.T], axis=1)
    return (sums / sizes[:, None])[member].astype(np.float32)
