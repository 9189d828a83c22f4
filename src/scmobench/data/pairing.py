"""The pairing of a matching's solution."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from anndata import AnnData


def pairing(solution: AnnData) -> np.ndarray:
    """``pairing_ix`` of a matching solution: row k of the shuffled mod2 is cell ``pairing_ix[k]`` of mod1.

    Read from ``uns["pairing_ix"]`` (the competition's files, written by R, hold it as floats), else from the
    0/1 matrix, whose row i has its one in the column of the partner, ``argsort(pairing_ix)[i]``.

    Raises
    ------
    ValueError : it holds anything but the whole numbers 0..n-1, each once.
    """
    n = solution.n_obs
    if "pairing_ix" in solution.uns:
        given = np.asarray(solution.uns["pairing_ix"])
        ix = given.ravel() if given.dtype.kind in "biuf" and given.size == max(given.shape, default=1) else []
        found = f"{given.dtype} of shape {given.shape}, {len(np.unique(ix))} numbers different"
    else:
        ones = sp.coo_matrix(np.eye(0) if solution.X is None else solution.X)
        ones.eliminate_zeros()
        ix = ones.row[np.argsort(ones.col)] if len(set(ones.col)) == n and (ones.data == 1).all() else []
        found = f"none, and {ones.nnz} values in {len(set(ones.col))} columns of X"
    if not np.array_equal(np.sort(ix), np.arange(n)):
        raise ValueError(
            f"expected pairing_ix of the solution to be a permutation of the whole numbers 0 to {n - 1}, "
            f"found {found}; give the competition's solution (test_sol)"
        )
    return np.asarray(ix, dtype=np.int64)
