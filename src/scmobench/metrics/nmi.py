"""Agreement of a clustering of the embedding with the cell types."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.metrics.neighbors import ScoredEmbedding, quiet
from scmobench.types import NotApplicable

RESOLUTIONS = tuple(step / 10 for step in range(1, 21))


def nmi(embedding: ScoredEmbedding) -> float:
    """Normalised mutual information of cell types and Louvain clusters, at the best resolution.

    max over r = 0.1, 0.2, ... 2.0 of 2 I(Y; C_r) / (H(Y) + H(C_r)), with clusters as the package louvain
    (vtraag) finds them on the directed, unweighted graph of 15 neighbours, as in the competition (Luecken
    et al. 2021; scib's ``opt_louvain`` of that time). The number depends on this flavour, on the seed (0)
    and on the order of cells (by about 0.03).

    Raises NotApplicable for one cell type, with entropy H(Y) of 0; for a cell without a type; and without a
    graph, see `ScoredEmbedding.connected_cells`.
    """
    from scmobench.metrics.louvain import partitions  # numba takes half a second

    cells = _typed_cells(embedding)
    return _best(embedding, partitions(cells.obsp["connectivities"], RESOLUTIONS))


def nmi_leiden(embedding: ScoredEmbedding) -> float:
    """As `nmi`, with scanpy's leiden clusters (igraph, two iterations): not comparable with `nmi`.

    Raises NotApplicable as `nmi`.
    """
    cells = _typed_cells(embedding)
    with quiet():
        import scanpy as sc

        flavour = {"flavor": "igraph", "n_iterations": 2, "directed": False, "random_state": 0}

        def clusters(resolution: float) -> np.ndarray:
            sc.tl.leiden(cells, resolution=resolution, key_added="cluster", **flavour)
            return pd.Categorical(cells.obs["cluster"].astype(str)).codes

        return _best(embedding, map(clusters, RESOLUTIONS))


def _typed_cells(embedding: ScoredEmbedding) -> AnnData:
    if len(types := embedding.categories("cell_type").categories) < 2:
        raise NotApplicable(f"all scored cells are of one type, {types[0]}: its entropy is 0")
    return embedding.connected_cells("cell_type")


def _best(embedding: ScoredEmbedding, clusterings: Iterable[np.ndarray]) -> float:
    """The best NMI of the cell types and the clusterings, each a whole number a cell.

    Numbers, since scikit-learn sorts texts cell by cell. They follow the sorted order of the texts, which
    decides the order of the sums and with it the last digit.
    """
    from sklearn.metrics import normalized_mutual_info_score

    types = embedding.categories("cell_type").codes
    return max(float(normalized_mutual_info_score(types, clusters)) for clusters in clusterings)
