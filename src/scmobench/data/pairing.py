"""The pairing of a matching's solution."""

import numpy as np
import scipy.sparse as sp
from anndata import AnnData


def pairing(solution: AnnData) -> np.ndarray:
    """``pairing_ix`` of a matching solution: row k of the shuffled mod2 is cell ``pairing_ix[k]`` of mod1.

    Read from ``uns["pairing_ix"]`` (the competition's files, written by R, hold it as floats), else from the
    0/1 matrix, whose row i has its one in the column of the partner, ``argsort(pairing_ix)[i]``.

    Raises
    ------
    ValueError : it holds anything but the whole numbers 0..n-1, each once, or X draws another pairing.
    """
    n, drawn = solution.n_obs, _of_matrix(solution)
    if "pairing_ix" in solution.uns:
        given = np.asarray(solution.uns["pairing_ix"])
        ix = given.ravel() if given.dtype.kind in "biuf" and given.size == max(given.shape, default=1) else []
        found = f"{given.dtype} of shape {given.shape}, {len(np.unique(ix))} numbers different"
    else:
        ix, found = drawn, "none, and no single 1 in each row and column of X"
    if not np.array_equal(np.sort(ix), np.arange(n)):
        raise ValueError(
            f"expected pairing_ix of the solution to be a permutation of the whole numbers 0 to {n - 1}, "
            f"found {found}; give the competition's solution (test_sol)"
        )
    if len(drawn) and not np.array_equal(ix, drawn):
        raise ValueError(
            "expected one pairing in the solution, found another in X than in uns['pairing_ix']: where X is "
            "right, del solution.uns['pairing_ix']"
        )
    return np.asarray(ix, dtype=np.int64)


def _of_matrix(solution: AnnData) -> np.ndarray:
    """The pairing that the 0/1 matrix draws; empty where it draws none."""
    ones = sp.coo_matrix(np.eye(0) if solution.X is None else solution.X)
    ones.eliminate_zeros()
    once = all(np.array_equal(np.sort(ix), np.arange(solution.n_obs)) for ix in (ones.row, ones.col))
    return ones.row[np.argsort(ones.col)] if once and (ones.data == 1).all() else np.empty(0, int)
