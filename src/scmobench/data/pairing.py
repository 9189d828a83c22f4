"""The pairing of cells: of two modalities by their names, of a matching's solution by numbers."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.labels import some

# what tools add to barcodes: the number of a lane, the name of a sample behind or before them
AFFIXES = {r"[-_.]\d+$": "suffix", r"[-_.#:][^-_.#:]+$": "suffix", r"^.*[_#:]": "prefix"}


def pairing(solution: AnnData) -> np.ndarray:
    """``pairing_ix`` of a matching solution: row k of the shuffled mod2 is cell ``pairing_ix[k]`` of mod1.

    Read from ``uns["pairing_ix"]`` (the competition's files, written by R, hold it as floats), else from the
    0/1 matrix, whose row i has its one in the column of the partner, ``argsort(pairing_ix)[i]``. Raises
    ValueError if it holds anything but the whole numbers 0..n-1, each once, or X draws another pairing.
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
            "expected one pairing in the solution, found different ones in X and in uns['pairing_ix']: if X "
            "is right, del solution.uns['pairing_ix']"
        )
    return np.asarray(ix, dtype=np.int64)


def _of_matrix(solution: AnnData) -> np.ndarray:
    """The pairing that the 0/1 matrix draws; empty where it draws none."""
    ones = sp.coo_matrix(np.eye(0) if solution.X is None else solution.X)
    ones.eliminate_zeros()
    once = all(np.array_equal(np.sort(ix), np.arange(solution.n_obs)) for ix in (ones.row, ones.col))
    return ones.row[np.argsort(ones.col)] if once and (ones.data == 1).all() else np.empty(0, int)


def unpaired(mod1: AnnData, mod2: AnnData) -> str:
    """Why the cells of two modalities are not the same in the same order, and what to do."""
    cells1, cells2, features1, features2 = mod1.obs_names, mod2.obs_names, mod1.var_names, mod2.var_names
    shared = len(cells1.intersection(cells2))
    few, unlike = shared < 0.5 * len(cells1), "expected the same names of cells, found "
    unlike += f"{cells1[0]} in mod1 and {cells2[0]} in mod2: "
    for affix, what in AFFIXES.items() if few else ():
        bare1, bare2 = (cells.str.replace(affix, "", regex=True) for cells in (cells1, cells2))
        for of, one, other in (("both", bare1, bare2), ("mod1", bare1, cells2), ("mod2", cells1, bare2)):
            if one.is_unique and other.is_unique and len(one.intersection(other)) > 0.5 * len(cells1):
                take = f"adata.obs_names.str.replace(r'{affix}', '', regex=True)"
                return f"{unlike}take the {what} off {of}, `adata.obs_names = {take}`"
    if few and len(features1.intersection(features2)) > 0.9 * max(mod1.n_vars, mod2.n_vars):
        return "the columns of both files are the same cells; transpose them (`adata.T`)"
    for cells, features, which in ((cells1, features2, "mod2"), (cells2, features1, "mod1")):
        if len(cells.intersection(features)) > 0.5 * len(cells):
            return (
                f"cell names of one modality are the column names of {which}: rows must be cells; "
                f"transpose {which} (`adata.T`)"
            )
    if not shared or (unnamed(cells1) and unnamed(cells2) and not cells1.equals(cells2)):
        return (
            f"{unlike}name the cells of both alike, by barcodes; where both are in the same order, "
            "`mod2.obs_names = mod1.obs_names`"
        )
    only1, only2 = cells1.difference(cells2, sort=False), cells2.difference(cells1, sort=False)
    if len(only1) or len(only2):
        examples = [f" (e.g. {some(only)})" if len(only) else "" for only in (only1, only2)]
        return (
            f"every cell must be in both modalities, found {len(only1)} cells only in mod1{examples[0]} and "
            f"{len(only2)} only in mod2{examples[1]}; "
            "keep the cells that both have: `shared = mod1.obs_names.intersection(mod2.obs_names)`, "
            "`mod1[shared]` and `mod2[shared]`"
        )
    first = int(np.argmax(cells1.to_numpy() != cells2.to_numpy())) if len(cells1) == len(cells2) else 0
    return (
        f"both modalities have the same {len(cells1)} cells in another order (first at row {first}: "
        f"{cells1[first]} and {cells2[first]}); reorder one: `mod2 = mod2[mod1.obs_names]`"
    )


def unnamed(names: pd.Index) -> bool:
    """Whether the names only count the rows, from 0 (anndata) or from 1 (R)."""
    numbers = row_numbers(names)
    return numbers is not None and np.array_equal(numbers, np.arange(len(names)))


def row_numbers(names: pd.Index) -> np.ndarray | None:
    """The numbers from 0 that the names stand for, in any order; None where they do not count the rows."""
    for first in (0, 1):
        place = {str(number + first): number for number in range(len(names))}
        if set(names) == set(place):
            return np.array([place[name] for name in names])
    return None
