"""Does a clustering of the embedding agree with the cell types?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scmobench.metrics.neighbors import ScoredEmbedding, quiet

RESOLUTIONS = tuple(step / 10 for step in range(1, 21))


def nmi(embedding: ScoredEmbedding, seed: int = 0) -> float:
    """Normalised mutual information of cell types and Louvain clusters, at the best resolution.

    max over r = 0.1, 0.2, ... 2.0 of 2 I(Y; C_r) / (H(Y) + H(C_r)), clusters by louvain/vtraag on the
    directed, unweighted graph of 15 neighbours as in the competition (Luecken et al. 2021; scib's
    ``opt_louvain`` of that time). The number depends on this flavour, on the seed and on the order of
    cells (by about 0.03).
    """
    cells = embedding.connected_cells("cell_type")
    with quiet():
        import louvain
        from scanpy._utils import get_igraph_from_adjacency

        graph = get_igraph_from_adjacency(cells.obsp["connectivities"], directed=True)
        return _best(
            embedding,
            lambda resolution: (
                louvain.find_partition(
                    graph, louvain.RBConfigurationVertexPartition, seed=seed, resolution_parameter=resolution
                ).membership
            ),
        )


def nmi_leiden(embedding: ScoredEmbedding, seed: int = 0) -> float:
    """As `nmi`, clusters by scanpy's leiden, igraph flavour, two iterations: not comparable with `nmi`."""
    cells = embedding.connected_cells("cell_type")
    with quiet():
        import scanpy as sc

        def clusters(resolution: float) -> np.ndarray:
            sc.tl.leiden(
                cells,
                resolution=resolution,
                flavor="igraph",
                n_iterations=2,
                directed=False,
                random_state=seed,
                key_added="cluster",
            )
            return cells.obs["cluster"].to_numpy()

        return _best(embedding, clusters)


def _best(embedding: ScoredEmbedding, clusters: Callable[[float], np.ndarray]) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    types = np.asarray(embedding.categories("cell_type"))
    return max(float(normalized_mutual_info_score(types, clusters(r))) for r in RESOLUTIONS)
