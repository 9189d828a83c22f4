"""An embedding beside its labels, with the one kNN graph that all joint-embedding metrics share."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.metrics.connectivity import connectivities
from scmobench.types import NotApplicable

if TYPE_CHECKING:
    from scmobench.metrics.distances import Distances

EMBEDDING = "X_emb"
NEIGHBORS = 15
FAR, TINY = 1e-3, 1e-9  # of the cells' distance from 0, and in numbers: extents below which rounding decides


class ScoredEmbedding:
    """The scored cells in a joint space, beside their labels.

    Raises ValueError if no cell is scored.

    Parameters
    ----------
    embedding : cells x dimensions, finite; one row for each cell of the solution.
    solution : GEX of the same cells in the same order, normalised X; labels in obs as
        `scmobench.data.labels` makes them. Where obs has ``is_scored``, only those cells are scored.

    Attributes
    ----------
    matrix : the scored cells x dimensions, in float32 if it can hold every number.
    obs : labels of the scored cells.
    organism, protocol : see `scmobench.types.Paired`; empty where the solution does not state them.
    """

    def __init__(self, embedding: np.ndarray, solution: AnnData) -> None:
        matrix = np.asarray(embedding.toarray() if hasattr(embedding, "toarray") else embedding)
        keep = solution.obs.get("is_scored", pd.Series(True, solution.obs_names))
        if not keep.any():
            raise ValueError("expected cells with is_scored, found none; check the solution's obs")
        self._solution, self._keep = solution, keep.to_numpy()
        self.matrix = _single(_centred(matrix[self._keep]))
        self.obs = solution.obs[self._keep].copy()
        self.organism, self.protocol = (str(solution.uns.get(key, "")) for key in ("organism", "protocol"))

    @property
    def n_cells(self) -> int:
        """Number of scored cells."""
        return len(self.matrix)

    @cached_property
    def gex(self) -> AnnData:
        """Normalised GEX of the scored cells, CSR or dense."""
        kept = self._solution if self._keep.all() else self._solution[self._keep]
        x = kept.X.tocsr() if hasattr(kept.X, "tocsr") else np.asarray(kept.X)
        return AnnData(_single(x), obs=kept.obs.copy(), var=pd.DataFrame(index=kept.var_names))

    def categories(self, column: str) -> pd.Categorical:
        """A column of labels without unused categories.

        Raises NotApplicable if the column is absent or has missing values.
        """
        if column not in self.obs:
            raise NotApplicable(f"the solution has no {column}")
        if missing := int(self.obs[column].isna().sum()):
            raise NotApplicable(f"{missing} scored cells have no {column}")
        return pd.Categorical(self.obs[column].astype(str))

    @cached_property
    def distances(self) -> "Distances":
        """Sums and neighbours, with groups in the order of `categories`; a missing column is one group."""
        from scmobench.metrics.distances import all_pairs  # numba takes half a second

        codes = []
        for column in ("cell_type", "batch"):
            try:
                codes.append(self.categories(column).codes)
            except NotApplicable:
                codes.append(np.zeros(self.n_cells, np.int64))
        return all_pairs(self.matrix, *codes, NEIGHBORS)

    def points(self, members: np.ndarray) -> np.ndarray:
        """The rows of some cells."""
        return self.matrix[members]

    def spread(self, members: np.ndarray | slice) -> bool:
        """Whether these cells lie at more than one point.

        If they lie at one point, rounding makes distances of about 1e-8, and the silhouette is a rounding
        error.
        """
        return bool(np.ptp(self.matrix[members], axis=0).any())

    def connected_cells(self, *columns: str) -> AnnData:
        """A new AnnData of the embedding with these label columns and the kNN graph.

        Raises NotApplicable as `categories`; also for at most 15 cells, and if all cells are at one point.
        """
        obs = pd.DataFrame({c: self.categories(c) for c in columns}, index=self.obs.index)
        cells = AnnData(obs=obs, obsm={EMBEDDING: self.matrix}, obsp=self._graph)
        cells.uns["neighbors"] = {
            "connectivities_key": "connectivities",
            "distances_key": "distances",
            "params": {"n_neighbors": NEIGHBORS, "method": "umap", "use_rep": EMBEDDING},
        }
        return cells

    @cached_property
    def _graph(self) -> dict[str, sp.csr_matrix]:
        """k = 15, Euclidean, on the embedding itself; exact, so that no seed enters."""
        if self.n_cells <= NEIGHBORS:
            raise NotApplicable(
                f"{self.n_cells} scored cells are too few for a graph of {NEIGHBORS} neighbours"
            )
        if not self.spread(slice(None)):
            # scib would take the first 15 cells of the file as neighbours, with a high NMI of single cells.
            raise NotApplicable("all cells lie at one point: they have no nearest neighbours")
        indices, distances = self.distances.nearest, self.distances.length
        # scanpy expects distances beside the weights; nothing here reads them.
        start = np.arange(0, distances.size + 1, NEIGHBORS)
        shape = (self.n_cells, self.n_cells)
        return {
            "connectivities": connectivities(indices, distances),
            "distances": sp.csr_matrix((distances.ravel(), indices.ravel(), start), shape=shape),
        }


def _centred(matrix: np.ndarray) -> np.ndarray:
    """Cells moved to 0 and to unit size where rounding would decide their distances; else as they are.

    Scores do not depend on place and size, but squares of coordinates lose the digits of squared distances.
    """
    low, high = matrix.min(axis=0).astype(np.float64), matrix.max(axis=0).astype(np.float64)
    size = (high - low).max(initial=0)
    if not size or size > FAR * np.abs(low).max() + TINY:
        return matrix
    return (matrix - low) / 2.0 ** np.floor(np.log2(size))


def _single(matrix: np.ndarray | sp.spmatrix) -> np.ndarray | sp.spmatrix:
    """In single precision where it holds every number, so that a file's dtype does not change a score."""
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    return matrix if (single != matrix).sum() else single


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Catch the output and warnings of scib and scanpy; yields the printed text."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield printed


def finite(value: float, reason: str) -> float:
    """The value as a float; raises `NotApplicable` with the reason where it is NaN or infinite."""
    if not np.isfinite(value):
        raise NotApplicable(reason)
    return float(value)
