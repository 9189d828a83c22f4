"""Average silhouette widths: are cell types apart, and are batches mixed within them?"""

import numpy as np
import pandas as pd

from scmobench.metrics.neighbors import ScoredEmbedding
from scmobench.types import NotApplicable


def asw_label(embedding: ScoredEmbedding) -> float:
    """Silhouette of cell types on the embedding, (s + 1) / 2: 1 is compact and apart.

    scib's ``silhouette`` (Luecken et al. 2022, Nature Methods, Methods, "Average silhouette width"). 0.5
    where all cells lie at one point.

    Raises NotApplicable for a cell without a type, fewer than two cell types, and as many types as cells.
    """
    types = embedding.categories("cell_type").codes
    sizes = np.bincount(types)
    if not 2 <= len(sizes) < embedding.n_cells:
        raise NotApplicable(
            f"a silhouette needs 2 to n - 1 cell types; {embedding.n_cells} cells have {len(sizes)}"
        )
    if not embedding.spread(slice(None)):
        return 0.5
    sums = embedding.distances.to_type.astype(embedding.matrix.dtype)
    return (float(_silhouettes(sums, sizes, types).mean()) + 1) / 2


def asw_batch(embedding: ScoredEmbedding) -> float:
    """Mixing of batches within cell types: 1 is fully mixed. An embedding without any spread has 1, too.

    Mean over cell types of mean(1 - |silhouette of batch within the type|), without the types of one batch:
    scib's ``silhouette_batch`` (Luecken et al. 2022, Methods, "Average silhouette width").

    Raises NotApplicable for a cell without a batch or a type, one batch, and no cell type with more than one
    batch and more cells than batches.
    """
    batches = embedding.categories("batch")
    if len(batches.categories) < 2:
        raise NotApplicable("one batch: there is nothing to mix")
    types = embedding.categories("cell_type").codes
    widths, counted = np.zeros(len(types), embedding.matrix.dtype), np.zeros(len(types), bool)
    for kind in range(types.max() + 1):
        inside = np.flatnonzero(types == kind)
        present, own, sizes = np.unique(batches.codes[inside], return_inverse=True, return_counts=True)
        counted[inside] = 1 < len(present) < len(inside)
        if counted[inside[0]] and embedding.spread(inside):
            sums = embedding.distances.to_batch[np.ix_(inside, present)].astype(embedding.matrix.dtype)
            widths[inside] = _silhouettes(sums, sizes, own)
    if not counted.any():
        raise NotApplicable("no cell type has several cells in more than one batch")
    # pandas, as in scib: NumPy rounds a mean of float32 in another way.
    return float(pd.Series(1 - np.abs(widths[counted])).groupby(types[counted]).mean().mean())


def _silhouettes(sums: np.ndarray, sizes: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(b - a) / max(a, b) of each cell, in the precision of ``sums``, which scikit-learn uses as well.

    a is the mean distance to the other cells of its own group and b that to the nearest other group; 0 where
    the group has no other cell. Overwrites ``sums``, cells x groups.
    """
    cells = np.arange(len(own))
    with np.errstate(divide="ignore", invalid="ignore"):
        within = sums[cells, own]
        within /= (sizes - 1)[own]
        sums[cells, own] = np.inf
        sums /= sizes
        between = sums.min(axis=1)
        return np.nan_to_num((between - within) / np.maximum(within, between))
