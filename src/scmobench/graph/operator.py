"""The layout in which training multiplies with a matrix: the choice of a layout, and the compressed one."""

import numpy as np
import scipy.sparse as sp
import torch
from torch import from_numpy

from scmobench.nn.dense import SeededDense, SeededSparse, fits_card
from scmobench.nn.sparse import CompressedPair, DenseOperator, Operator, SparseOperator

TILE = 2048  # rows of the dense factor in a tile: 0.4 MB at 48 columns, which fits into the cache of one core
# From these filled shares on, a dense product is at least as fast as CSR. Measured on an H100 at
# 81,241 x 13,953, 10 % filled, width 48, with edge dropout: A x and A^T x take 2.8 ms each in CSR (float32),
# 0.9 ms each dense in float16, 4.7 and 7.6 ms dense in float32 (results/speed/gpu.json)
DENSE_ABOVE = {"cpu": 0.3, "cuda, float32": 0.2, "cuda, float16": 0.03}
CHUNK = 1 << 22  # entries
READS = 32  # tiles are faster from this mean number of entries a column on


def compressed_pair(matrix: sp.csr_matrix, tile: int = TILE, reads: int = READS) -> CompressedPair:
    """`CompressedPair` of a matrix.

    A matrix is cut into tiles of ``tile`` columns where it has more than twice as many columns, and more than
    ``reads`` entries a column on average. Raises ValueError for 2^31 entries or more, which 32-bit indices
    cannot count.
    """
    matrix = sp.csr_matrix(matrix)
    if matrix.nnz >= 2**31:
        raise ValueError(f"expected fewer than 2^31 edges, found {matrix.nnz}: use fewer features or cells")
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    t_tile, tile = (tile if n > 2 * tile and matrix.nnz > reads * n else max(n, 1) for n in matrix.shape)
    index = np.arange(matrix.nnz, dtype=np.int32)
    place = sp.csr_matrix((index, matrix.indices, matrix.indptr), matrix.shape)
    indptr, indices, order = _tiles(place, tile, 1)
    values = matrix.data.astype(np.float32, copy=False)
    if len(indptr) > 1:  # entries are in the order of the tiles from here on
        values, untiled = np.empty_like(values), values
        for a in range(0, len(order), CHUNK):  # NumPy makes 64-bit indices of those it is given
            here = order[a : a + CHUNK]
            values[a : a + CHUNK] = untiled[here]
            index[here] = np.arange(a, a + len(here), dtype=np.int32)  # `place` holds this array
        del untiled
    del order  # an array of a full-size graph takes half a gigabyte
    arrays = indptr, indices, values, *_tiles(place, t_tile, 0)
    return CompressedPair(*map(from_numpy, arrays), matrix.shape, tile, t_tile)


def _tiles(matrix: sp.csr_matrix, width: int, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row starts (tiles x rows + 1), indices and data of the tiles of A (axis 1) or A^T (axis 0)."""
    if matrix.shape[axis] <= width:
        whole = matrix if axis else matrix.tocsc()
        return whole.indptr.astype(np.int32)[None], whole.indices.astype(np.int32, copy=False), whole.data
    starts = []
    indices, data = (np.empty(matrix.nnz, np.int32) for _ in range(2))
    first = 0
    for a in range(0, matrix.shape[axis], width):
        tile = matrix[:, a : a + width] if axis else matrix[a : a + width].tocsc()
        starts.append(tile.indptr.astype(np.int32, copy=False))
        indices[first : first + tile.nnz], data[first : first + tile.nnz] = tile.indices, tile.data
        first += tile.nnz
    return np.stack(starts), indices, data


def operator_of(
    matrix: sp.csr_matrix, device: torch.device | str = "cpu", *, half: bool = False, rows: bool = False
) -> Operator:
    """The operator of a matrix, on the device. Filled share, size and device decide which.

    ``half`` : whether a GPU may multiply in float16 (relative error 3e-4). ``rows`` : whether training steps
    take rows of the matrix on the device; only a dense matrix can do this.
    """
    device = torch.device(device)
    filled = matrix.nnz / max(1, matrix.shape[0] * matrix.shape[1])
    if device.type == "cpu":
        if filled > DENSE_ABOVE["cpu"]:
            return DenseOperator(torch.from_numpy(matrix.toarray()))
        return compressed_operator(matrix)
    largest = max(matrix.data.max(initial=0), -matrix.data.min(initial=0))
    dtype = torch.float16 if half and largest < torch.finfo(torch.float16).max else torch.float32
    dense = rows or filled >= DENSE_ABOVE[f"cuda, {str(dtype).removeprefix('torch.')}"]
    if dense and fits_card(np.prod(matrix.shape, dtype=float), dtype, device):
        return SeededDense.of(matrix, device, dtype)
    return compressed_operator(matrix, device)


def compressed_operator(matrix: sp.csr_matrix, device: torch.device | str = "cpu") -> SparseOperator:
    """The compressed operator of a matrix: in tiles on a CPU; as a whole, with seeded masks, on a GPU."""
    if torch.device(device).type == "cpu":
        return SparseOperator(compressed_pair(matrix))
    return SeededSparse(compressed_pair(matrix, tile=max(matrix.shape))).to(device)
