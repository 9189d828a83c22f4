"""An embedding beside its labels, with the one kNN graph that all joint-embedding metrics share."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.metrics.connectivity import connectivities, nearest_cells
from scmobench.types import NotApplicable

EMBEDDING = "X_emb"
NEIGHBORS = 15


class ScoredEmbedding:
    """Cells placed in a joint space, beside the labels of the same cells in the same order.

    Parameters
    ----------
    embedding : cells x dimensions.
    solution : GEX of the same cells, normalised X; labels in obs as `scmobench.data.labels` makes them:
        categories, floats and bools, NaN where missing. Where obs has ``is_scored``, only those cells are
        scored.

    Raises
    ------
    ValueError : the numbers of cells differ, no cell is scored, or the embedding is not finite.
    """

    def __init__(self, embedding: np.ndarray, solution: AnnData) -> None:
        matrix = np.asarray(embedding.toarray() if hasattr(embedding, "toarray") else embedding)
        if matrix.ndim != 2 or matrix.shape[0] != solution.n_obs:
            raise ValueError(
                f"expected an embedding of the solution's {solution.n_obs} cells x dimensions, "
                f"found {matrix.shape}; give one row a cell, in the solution's order"
            )
        if not np.isfinite(matrix).all():
            raise ValueError("expected a finite embedding, found NaN or infinity; check the model's output")
        self._solution = solution
        self._keep = np.ones(solution.n_obs, bool)
        if "is_scored" in solution.obs:
            if solution.obs["is_scored"].dtype != bool:
                found = solution.obs["is_scored"].dtype
                raise ValueError(f"expected is_scored of the solution's obs to be bool, found {found}")
            self._keep = solution.obs["is_scored"].to_numpy()
        if not self._keep.any():
            raise ValueError("expected cells with is_scored, found none; check the solution's obs")
        self._matrix = _single(matrix[self._keep])

    @property
    def n_cells(self) -> int:
        """Cells that are scored."""
        return len(self._matrix)

    @property
    def organism(self) -> str:
        """``human``, ``mouse``, ... or empty where the solution does not say."""
        return str(self._solution.uns.get("organism", ""))

    @property
    def protocol(self) -> str:
        """Whose rules the test set follows, see `scmobench.types.Paired`."""
        return str(self._solution.uns.get("protocol", ""))

    @cached_property
    def gex(self) -> AnnData:
        """Normalised GEX of the scored cells, in CSR or dense form."""
        kept = self._solution if self._keep.all() else self._solution[self._keep]
        x = kept.X.tocsr() if hasattr(kept.X, "tocsr") else np.asarray(kept.X)
        return AnnData(_single(x), obs=kept.obs.copy(), var=pd.DataFrame(index=kept.var_names))

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Labels of the scored cells."""
        return self._solution.obs[self._keep].copy()

    def categories(self, column: str) -> pd.Categorical:
        """A column of labels without unused categories.

        Raises
        ------
        NotApplicable : the column is absent or has missing values.
        """
        if column not in self.obs:
            raise NotApplicable(f"the solution has no {column}")
        missing = int(self.obs[column].isna().sum())
        if missing:
            raise NotApplicable(f"{missing} scored cells have no {column}")
        return pd.Categorical(self.obs[column].astype(str))

    def cells(self, *columns: str) -> AnnData:
        """A fresh AnnData of the embedding with these label columns, without the graph."""
        obs = pd.DataFrame({c: self.categories(c) for c in columns}, index=self.obs.index)
        return AnnData(obs=obs, obsm={EMBEDDING: self._matrix})

    def connected_cells(self, *columns: str) -> AnnData:
        """As `cells`, with the kNN graph that is computed once."""
        cells = self.cells(*columns)
        cells.obsp.update(self._graph.obsp)
        cells.uns["neighbors"] = self._graph.uns["neighbors"]
        return cells

    @cached_property
    def _graph(self) -> AnnData:
        """k = 15, Euclidean, on the embedding as it is; exact, so that no seed enters.

        Raises
        ------
        NotApplicable : too few cells, or all cells at one point, where scib's neighbours are the first
            15 cells of the file and its NMI of clusters of single cells is high.
        """
        if self.n_cells <= NEIGHBORS:
            raise NotApplicable(
                f"{self.n_cells} scored cells are too few for a graph of {NEIGHBORS} neighbours"
            )
        if not np.ptp(self._matrix, axis=0).any():
            raise NotApplicable("all cells lie at one point: they have no nearest neighbours")
        indices, distances = nearest_cells(self._matrix, NEIGHBORS)
        cells = AnnData(obs=pd.DataFrame(index=self.obs.index))
        cells.obsp["connectivities"] = connectivities(indices, distances)
        # scanpy expects distances beside the weights; nothing here reads them.
        start = np.arange(0, distances.size + 1, NEIGHBORS)
        shape = (self.n_cells, self.n_cells)
        cells.obsp["distances"] = sp.csr_matrix((distances.ravel(), indices.ravel(), start), shape=shape)
        cells.uns["neighbors"] = {
            "connectivities_key": "connectivities",
            "distances_key": "distances",
            "params": {"n_neighbors": NEIGHBORS, "method": "umap", "use_rep": EMBEDDING},
        }
        return cells


def _single(matrix: np.ndarray | sp.spmatrix) -> np.ndarray | sp.spmatrix:
    """In single precision where that holds every number, so that a file's type does not move a score."""
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    return matrix if (single != matrix).sum() else single


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Catch what scib and scanpy print and warn, and hand the printed text over."""
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(np.errstate(all="ignore"))
        yield printed


def finite(value: float, reason: str) -> float:
    """The value as a float.

    Raises
    ------
    NotApplicable : with this reason, where the value is NaN or infinite.
    """
    if not np.isfinite(value):
        raise NotApplicable(reason)
    return float(value)
