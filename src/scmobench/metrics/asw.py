"""Average silhouette widths: are cell types apart, and are batches mixed within them?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.metrics.neighbors import EMBEDDING, ScoredEmbedding, finite, quiet
from scmobench.types import NotApplicable


def asw_label(embedding: ScoredEmbedding) -> float:
    """Silhouette of cell types on the embedding, (s + 1) / 2: 1 is compact and apart.

    scib's ``silhouette`` (Luecken et al. 2022, Nature Methods, Methods, "Average silhouette width"). 0.5
    where all cells lie at one point.

    Raises
    ------
    NotApplicable : a cell without a type, fewer than two cell types, or as many types as cells.
    """
    types = len(embedding.categories("cell_type").categories)
    if not 2 <= types < embedding.n_cells:
        raise NotApplicable(
            f"a silhouette needs 2 to n - 1 cell types; {embedding.n_cells} cells have {types}"
        )
    cells = embedding.cells("cell_type")
    _centre_points(cells, pd.Series("all", index=cells.obs_names))
    with quiet():
        import scib

        value = scib.metrics.silhouette(cells, label_key="cell_type", embed=EMBEDDING)
    return finite(value, "the silhouette of cell types is not defined")


def asw_batch(embedding: ScoredEmbedding) -> float:
    """Mixing of batches within cell types: 1 is mixed, and so is an embedding without any spread.

    Mean over cell types of mean(1 - |silhouette of batch within the type|), without types in one batch:
    scib's ``silhouette_batch`` (Luecken et al. 2022, Methods, "Average silhouette width").

    Raises
    ------
    NotApplicable : a cell without a batch or a type, one batch, or no cell type with more than one
        batch and more cells than batches.
    """
    if len(embedding.categories("batch").categories) < 2:
        raise NotApplicable("one batch: there is nothing to mix")
    cells = embedding.cells("batch", "cell_type")
    _centre_points(cells, cells.obs["cell_type"])
    keys = {"batch_key": "batch", "label_key": "cell_type", "embed": EMBEDDING}
    with quiet():
        import scib

        value = scib.metrics.silhouette_batch(cells, verbose=False, **keys)
    return finite(value, "no cell type has several cells in more than one batch")


def _centre_points(cells: AnnData, groups: pd.Series) -> None:
    """Move each group of cells that lies at one point to the origin.

    Elsewhere scikit-learn finds distances of about 1e-8 between equal cells, and their silhouette is a
    rounding error.
    """
    matrix = cells.obsm[EMBEDDING] = cells.obsm[EMBEDDING].copy()
    for _, members in groups.groupby(groups.to_numpy()).indices.items():
        if not np.ptp(matrix[members], axis=0).any():
            matrix[members] = 0
