"""A sparse matrix and its transpose in the layout that training multiplies with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from torch import Tensor, from_numpy


class CompressedPair(NamedTuple):
    """A in CSR, and the structure of A^T in CSR with the place of each of its entries in A.

    Indices have 32 bits: 10-30 % faster products and half the memory.
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    t_indptr: Tensor
    t_indices: Tensor
    t_order: Tensor
    shape: tuple[int, int]


def compressed_pair(matrix: sp.csr_matrix) -> CompressedPair:
    """`CompressedPair` of a matrix.

    Raises
    ------
    ValueError : 2^31 entries or more, which 32-bit indices cannot count.
    """
    matrix = sp.csr_matrix(matrix)
    if matrix.nnz >= 2**31:
        raise ValueError(f"expected fewer than 2^31 edges, found {matrix.nnz}: use fewer features or cells")
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    index = np.arange(matrix.nnz, dtype=np.int32)
    flipped = sp.csr_matrix((index, matrix.indices, matrix.indptr), matrix.shape).tocsc()
    arrays = (
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
        flipped.indptr.astype(np.int32),
        flipped.indices.astype(np.int32, copy=False),
        flipped.data,
    )
    return CompressedPair(*(from_numpy(np.ascontiguousarray(a)) for a in arrays), matrix.shape)


def filled(matrix: sp.csr_matrix) -> float:
    """Share of the entries that are not zero."""
    return matrix.nnz / max(1, matrix.shape[0] * matrix.shape[1])
