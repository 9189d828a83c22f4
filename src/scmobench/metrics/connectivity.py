"""Weights of the kNN graph on which cells are clustered and pseudotime is computed.

UMAP's fuzzy graph, as scanpy's neighbours, in NumPy: importing and compiling `umap` takes 20 seconds in
every process, this 0.1. A test compares the two.
"""

import numpy as np
import scipy.sparse as sp

TOLERANCE = 1e-5
SMALLEST_SCALE = 1e-3


def connectivities(indices: np.ndarray, distances: np.ndarray) -> sp.csr_matrix:
    """Symmetric membership strengths, cells x cells.

    w_ij = exp(-max(0, d_ij - rho_i) / sigma_i), rho_i the smallest positive distance and sigma_i such
    that the strengths of row i sum to log2 k; then W + W' - W * W' (McInnes et al. 2018, UMAP, section
    3.1 and algorithms 2-3).
    ``indices`` and ``distances`` are those of `scmobench.metrics.distances.nearest_cells`.
    """
    n, k = indices.shape
    nearest = np.where(distances > 0, distances, np.inf).min(axis=1)
    nearest = np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)
    beyond = np.maximum(distances - nearest[:, None], 0)
    scale = _scales(beyond[:, 1:], np.log2(k))
    spread = np.where(nearest > 0, distances.mean(axis=1), distances.mean())
    scale = np.maximum(scale, SMALLEST_SCALE * spread).astype(np.float32)
    strength = np.exp(-beyond / np.where(scale > 0, scale, 1)[:, None])
    strength[indices == np.arange(n)[:, None]] = 0
    directed = sp.csr_matrix((strength.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    directed.eliminate_zeros()
    union = sp.csr_matrix(directed + directed.T - directed.multiply(directed.T))
    union.eliminate_zeros()
    union.sort_indices()
    return union


def _scales(beyond: np.ndarray, target: float) -> np.ndarray:
    """Solve sum_j exp(-beyond_ij / sigma_i) = target for every row, by UMAP's bisection from 1."""
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    scale = np.ones(len(beyond))
    active = np.arange(len(beyond))
    for _ in range(64):
        excess = np.exp(-beyond[active] / scale[active, None]).sum(axis=1) - target
        unsolved = np.abs(excess) >= TOLERANCE
        active, excess = active[unsolved], excess[unsolved]
        if not active.size:
            break
        above, below = active[excess > 0], active[excess <= 0]
        high[above], low[below] = scale[above], scale[below]
        with np.errstate(invalid="ignore"):
            middle = (low[active] + high[active]) / 2
        scale[active] = np.where(np.isfinite(high[active]), middle, scale[active] * 2)
    return scale
