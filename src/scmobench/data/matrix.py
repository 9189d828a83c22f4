"""Checks of matrices from outside: real numbers and, if sparse, a sound structure.

A wrong index or pointer makes SciPy read memory outside the matrix. The result is a crash or a plausible
number, so every matrix from outside is checked here before anything uses it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

AXES = {"csr": 0, "csc": 1}  # format: the axis of its pointers


def checked_matrix(matrix: Any, where: str) -> Any:
    """The same matrix, dense or sparse, after a check of its type and structure.

    Where nothing has to change, the object itself is returned, else a copy. Values become float32 or, where
    float32 cannot hold every value of the type, float64. CSR and CSC stay; other sparse formats become CSR.
    Raises ValueError if it is missing, no matrix, not of real numbers, not of two axes, damaged, or holds two
    values at one place. ``where`` is its name in messages.
    """
    import scipy.sparse as sp  # not at the top: `inspection` starts without it

    if matrix is None:
        raise ValueError(f"{where} is missing: expected a matrix of cells x features")
    if np.ma.isMaskedArray(matrix) or not (isinstance(matrix, np.ndarray) or sp.issparse(matrix)):
        found = type(matrix).__name__
        raise ValueError(
            f"{where}: expected a numpy array or a scipy.sparse matrix, found {found}: convert it, e.g. by "
            + {
                "DataFrame": ".to_numpy()",
                "AnnData": ".X",
                "Tensor": ".detach().cpu().numpy()",
                "MaskedArray": ".filled(0)",
            }.get(found, "np.asarray()")
        )
    if matrix.ndim != 2:
        raise ValueError(f"{where}: expected rows and columns, found an array of shape {matrix.shape}")
    if not sp.issparse(matrix):
        return np.asarray(matrix, _held_as(matrix.dtype, where))
    matrix = matrix if matrix.format in AXES else matrix.tocsr()
    parts = (matrix.data, matrix.indices, matrix.indptr)
    fresh = compressed(*parts, matrix.shape, AXES[matrix.format], where)
    return matrix if matrix.dtype == fresh.dtype and isinstance(matrix, sp.spmatrix) else fresh


def compressed(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: Sequence[int], axis: int, where: str
) -> Any:
    """A CSR (``axis`` 0) or CSC (1) matrix of its three arrays, after the checks of `checked_matrix`."""
    import scipy.sparse as sp

    dtype = _held_as(data.dtype, where)
    if data.ndim != 1 or (found := flaw(len(data), indptr, [indices], shape, axis)):
        raise ValueError(f"{where} is a damaged sparse matrix: {found if data.ndim == 1 else data.shape}")
    kind = (sp.csr_matrix, sp.csc_matrix)[axis]
    matrix = kind((data.astype(dtype, copy=False), indices, indptr), shape=tuple(map(int, shape)))
    if not (matrix.has_canonical_format or matrix.sorted_indices().has_canonical_format):
        raise ValueError(
            f"{where}: expected one value for each row and column of a sparse matrix, found two for some: "
            "call sum_duplicates() on it"
        )
    return matrix


def _held_as(dtype: np.dtype, where: str) -> np.dtype:
    if reason := unreal(dtype, where):
        raise ValueError(reason)
    return min(np.result_type(dtype.newbyteorder("="), np.float32), np.dtype(np.float64))


def flaw(values: int, indptr: Any, blocks: Iterable[Any], shape: Sequence[int], axis: int) -> str:
    """What is wrong with a compressed sparse matrix of ``values`` numbers; empty where it is sound.

    The indices come in one or more ``blocks``; ``axis`` is 0 for CSR, 1 for CSC.
    """
    major, minor = shape[axis], shape[1 - axis]
    if indptr.dtype.kind not in "iu" or indptr.shape != (major + 1,):
        return f"expected {major + 1} whole numbers in indptr, found {indptr.dtype} of shape {indptr.shape}"
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any() or indptr[-1] != values:
        return f"expected indptr to start at 0, never to fall and to end at {values}, the number of values"
    found = 0
    for block in blocks:
        if block.dtype.kind not in "iu" or block.ndim != 1:
            return f"expected whole numbers in indices, found {block.dtype} of shape {block.shape}"
        if len(block) and (block.min() < 0 or block.max() >= minor):
            return f"expected indices of 0 to {minor - 1}, found {block.min()} to {block.max()}"
        found += len(block)
    return "" if found == values else f"expected an index for each of {values} values, found {found} indices"


def unreal(dtype: np.dtype, where: str) -> str:
    """Why values of this type are not real numbers; empty for bool, integers and floats."""
    if dtype.kind in "biuf":
        return ""
    advice = "keep the real part, .real" if dtype.kind == "c" else "convert it, .astype(np.float32)"
    return f"expected real numbers in {where}, found {dtype}: {advice}"
