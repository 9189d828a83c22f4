"""Dimension reduction of a modality: truncated SVD, and latent semantic indexing on top of TF-IDF.

`product` gives the bits of SciPy's products of a sparse and a dense matrix in a sixth of their time.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from scmobench.compiled import compiled
from scmobench.data.preprocess import (
    TFIDF,
    Matrix,
    as_csr,
    inverse_or_zero,
    log1p,
    row_sums,
    scale_rows,
    zscore_rows,
)
from scmobench.machine import arithmetic

OVERSAMPLES, ROUNDS = 10, 5  # of the randomised SVD: dimensions beside those kept, and power iterations
TILE = 1 << 17  # values of the dense matrix that one pass reads: 512 kB stay in a core's cache
SMALL = 1 << 24  # multiplications that take less time than a second thread needs to start


class SVD:
    """Truncated singular value decomposition X ≈ U Σ Vᵀ, uncentred, so that sparse stays sparse.

    Randomised (Halko et al. 2011, SIAM Rev. 53:217), bit for bit as scikit-learn's ``TruncatedSVD`` with its
    defaults, but with the fast `product`. The sign of each component is fixed by its largest loading.

    Parameters
    ----------
    n_components : at most min(cells, features) - 1 are computed.
    seed : of the random projection.
    """

    def __init__(self, n_components: int, seed: int = 0) -> None:
        self.n_components, self.seed = n_components, seed

    def fit(self, X: Matrix) -> "SVD":
        """Learn the components from ``X``, cells x features."""
        X = as_csr(X)
        if min(X.shape) < 2:
            raise ValueError(f"expected at least 2 cells and 2 features for an SVD, found {X.shape}")
        self.components_ = self._components(X, min(self.n_components, min(X.shape) - 1))
        return self

    def transform(self, X: Matrix) -> np.ndarray:
        """U Σ: cells x components, float32."""
        return product(as_csr(X), self.components_.T)

    def fit_transform(self, X: Matrix) -> np.ndarray:
        return self.fit(X).transform(X)

    def _components(self, X: sp.csr_matrix, width: int) -> np.ndarray:
        """Components x features: the first right singular vectors of ``X``."""
        wide = X.shape[0] < X.shape[1]
        tall, flat = (X.T.tocsr(), X) if wide else (X, X.T.tocsr())
        basis = np.random.RandomState(self.seed).normal(size=(flat.shape[0], width + OVERSAMPLES))
        for _ in range(ROUNDS):
            for matrix in (tall, flat):
                basis = linalg.lu(product(matrix, basis), permute_l=True, check_finite=False)[0]
        basis = linalg.qr(product(tall, basis), mode="economic", check_finite=False)[0]
        left, _, right = linalg.svd(product(flat, basis).T, full_matrices=False)
        components = (basis @ left).T if wide else right
        largest = np.abs(components).argmax(axis=1)
        signs = np.sign(np.take_along_axis(components, largest[:, None], axis=1))
        return np.ascontiguousarray((components * signs)[:width])

    def inverse_transform(self, scores: np.ndarray) -> np.ndarray:
        """Back from components to features: cells x features, float32, dense."""
        return np.asarray(scores, dtype=np.float32) @ self.components_


class LSI:
    """Latent semantic indexing of counts: TF-IDF → rows to sum 1 → log(1 + 10⁴ x) → truncated SVD.

    The first component, which follows the depth of a cell, is dropped. As in scMoGNN (Wen et al.
    2022, KDD, modality matching) and GLUE (Cao & Gao 2022).

    Parameters
    ----------
    n_components : number of components kept.
    drop_first : drop the first component.
    seed : of the SVD.
    weighted : begin with TF-IDF; False gives an SVD of the logarithm of each feature's share of the cell.
    zscore : scale each cell's components to mean 0 and standard deviation 1 (of a sample) before the first
        one is dropped, as in the code of the competition's matching winner.
    """

    def __init__(
        self,
        n_components: int,
        drop_first: bool = True,
        seed: int = 0,
        weighted: bool = True,
        zscore: bool = False,
    ) -> None:
        self.drop_first, self.zscore = drop_first, zscore
        self.tfidf = TFIDF() if weighted else None
        self.svd = SVD(n_components + int(drop_first), seed)

    def fit(self, X: Matrix) -> "LSI":
        """Learn weights and components from raw counts, cells x features."""
        if self.tfidf:
            self.tfidf.fit(X)
        self.svd.fit(self._logs(X))
        return self

    def transform(self, X: Matrix) -> np.ndarray:
        """Cells x components, float32."""
        scores = self.svd.transform(self._logs(X))
        return (zscore_rows(scores, ddof=1) if self.zscore else scores)[:, int(self.drop_first) :]

    def _logs(self, X: Matrix) -> sp.csr_matrix:
        if X.shape[0] and X.shape[1] and X.min() < 0:
            raise ValueError(
                f"expected counts or other values >= 0 for an LSI, the lowest found is {X.min():g}: give the "
                "modality's counts, or leave it out of `components`"
            )
        weighted = self.tfidf.transform(X) if self.tfidf else as_csr(X)
        return log1p(scale_rows(weighted, 1e4 * inverse_or_zero(row_sums(weighted))))


def product(sparse: sp.csr_matrix, dense: np.ndarray) -> np.ndarray:
    """The product of a CSR and a dense matrix, on as many threads as OMP_NUM_THREADS says.

    SciPy reads a row of ``dense`` for each entry of ``sparse``, mostly from memory. Here the entries are
    visited in tiles of columns, and the rows of ``dense`` that belong to a tile stay in the cache. Each sum
    still runs over the entries of its row from left to right, so the result is SciPy's bit for bit, with any
    number of threads.
    """
    if sparse.dtype != np.float32 or not sparse.has_sorted_indices:
        return sparse @ dense
    dense = np.ascontiguousarray(dense, dtype=np.float32)
    total = np.zeros((sparse.shape[0], dense.shape[1]), dtype=np.float32)
    starts = sparse.indptr.astype(np.int64)
    columns = sparse.indices.view(np.dtype(f"u{sparse.indices.itemsize}"))  # a signed index is slow
    workers = (arithmetic.threads() or os.cpu_count() or 1) if sparse.nnz * dense.shape[1] > SMALL else 1
    ends = np.searchsorted(starts, np.linspace(0, sparse.nnz, workers + 1)[1:-1]).tolist()
    tile = max(1, TILE // max(1, dense.shape[1]))

    def rows(first: int, last: int) -> None:
        _add(starts[first : last + 1], columns, sparse.data, dense, total[first:last], tile)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(rows, [0, *ends], [*ends, sparse.shape[0]]))
    return total


def _read(kind: str, dimensions: int) -> str:
    """What numba calls an array that is read here, and that may be read-only."""
    return f"Array({kind}, {dimensions}, 'C', readonly=True)"


VALUES, DENSE = _read("float32", 1), _read("float32", 2)


@compiled(
    [
        f"void(int64[::1], {_read(index, 1)}, {VALUES}, {DENSE}, float32[:, ::1], int64)"
        for index in ("uint32", "uint64")
    ]
)
def _add(starts, columns, data, dense, total, tile):
    """Add the product to ``total``, which is 0; four entries at a time, in their order."""
    place = starts[:-1].copy()
    width = dense.shape[1]
    for stop in range(tile, dense.shape[0] + tile, tile):
        for row in range(total.shape[0]):
            at, end, sums = place[row], starts[row + 1], total[row]
            while at + 4 <= end and columns[at + 3] < stop:
                a, b, c, d = data[at], data[at + 1], data[at + 2], data[at + 3]
                first, second = dense[columns[at]], dense[columns[at + 1]]
                third, fourth = dense[columns[at + 2]], dense[columns[at + 3]]
                for k in range(width):
                    value = sums[k] + a * first[k]
                    value += b * second[k]
                    value += c * third[k]
                    sums[k] = value + d * fourth[k]
                at += 4
            while at < end and columns[at] < stop:
                a, first = data[at], dense[columns[at]]
                for k in range(width):
                    sums[k] += a * first[k]
                at += 1
            place[row] = at
