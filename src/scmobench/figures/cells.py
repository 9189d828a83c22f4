"""The numbers behind the pictures of cells: correlations of features, success by type, layouts, curves."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.linalg import orthogonal_procrustes

from scmobench.data.foreign import check_file
from scmobench.data.pairing import pairing
from scmobench.metrics.matching import partner_probability, type_probability
from scmobench.metrics.regression import pearson_per_gene

SEED = 0  # of every layout
NEIGHBOURS = 15
LARGEST_LOG = 1 << 26  # bytes of a training log
DETECTED = 0.1  # share of test cells in which a feature that is named is found


def correlations(solution: AnnData, prediction: AnnData) -> pd.DataFrame:
    """Pearson correlation of each feature across the test cells.

    Returns one row a feature that varies: ``r`` (0 for a constant prediction), ``detected`` (share of the
    test cells with a value other than 0). Raises `scmobench.types.NotApplicable` if no feature varies.
    """
    truth = sp.csc_matrix(solution.X)
    r = pearson_per_gene(truth, prediction.X)
    varies = np.asarray((truth.max(axis=0) - truth.min(axis=0)).todense()).ravel() > 0
    detected = np.asarray((truth != 0).sum(axis=0)).ravel() / truth.shape[0]
    return pd.DataFrame({"r": r, "detected": detected}, index=solution.var_names)[varies]


def extremes(r: pd.DataFrame, n: int) -> tuple[list[str], list[str]]:
    """The ``n`` best and the ``n`` worst features, best first, among those found in enough cells.

    ``r`` is of `correlations`, sorted by nothing. Where fewer than ``2 n`` are found in `DETECTED` of the
    cells, all count.
    """
    often = r[r["detected"] >= DETECTED]
    ranked = (often if len(often) >= 2 * n else r).sort_index().sort_values("r", kind="stable")[::-1]
    n = min(n, len(ranked) // 2)
    return list(ranked.index[:n]), list(ranked.index[len(ranked) - n :])


def success(solution: AnnData, prediction: AnnData) -> pd.DataFrame:
    """How well the cells of each type are matched.

    Returns one row a type, most cells first: ``cells``, ``partner`` (mean probability of the true partner),
    ``type`` (mean probability of any cell of the type). Raises `scmobench.types.NotApplicable` for cells
    without a type, or of one type alone.
    """
    partner, types = np.argsort(pairing(solution)), solution.obs.get("cell_type")
    similarity = sp.csr_matrix(prediction.X)
    found = pd.DataFrame({"type": type_probability(similarity, partner, types)})
    found["partner"] = partner_probability(similarity, partner)
    by_type = found.groupby(np.asarray(types, dtype=str))
    table = by_type[["partner", "type"]].mean().assign(cells=by_type.size())
    return table.sort_index().sort_values("cells", ascending=False, kind="stable")


def layout(embedding: AnnData, like: np.ndarray | None = None) -> np.ndarray:
    """UMAP of an embedding in two dimensions, cells x 2 (McInnes et al. 2018), the same in each call.

    ``like`` is another layout of the same cells: the new one is turned and mirrored to lie as it does, which
    changes no distance.
    """
    from umap import UMAP

    X = np.asarray(embedding.X, dtype=np.float32)
    neighbours = max(2, min(NEIGHBOURS, len(X) - 1))
    found = UMAP(n_neighbors=neighbours, min_dist=0.5, random_state=SEED, n_jobs=1).fit_transform(X)
    found = found - found.mean(axis=0)
    return found if like is None else found @ orthogonal_procrustes(found, like)[0]


def curve(folder: Path) -> pd.Series | None:
    """The validation score of each evaluated epoch of a run; None where it kept no training log.

    Raises ValueError if the log is no table with the columns ``epoch`` and ``validation``.
    """
    parts = sorted((folder / "training").glob("metrics*.csv"), key=lambda path: path.name == "metrics.csv")
    if not parts:
        return None
    tables = []
    for path in parts:
        check_file(path, "a training log")
        try:
            if path.stat().st_size > LARGEST_LOG:
                raise ValueError(f"more than {LARGEST_LOG} bytes")
            tables.append(pd.read_csv(path, usecols=["epoch", "validation"], dtype=float))
        except ValueError as error:
            raise ValueError(
                f"expected a training log with columns epoch and validation at {path}, found {error}; "
                "delete it, or run again with force=true"
            ) from error
    found = pd.concat(tables).dropna().drop_duplicates("epoch", keep="last").set_index("epoch")
    return found["validation"].sort_index() if len(found) else None
