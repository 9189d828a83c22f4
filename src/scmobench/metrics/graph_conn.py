"""Graph connectivity: does each cell type hang together in the kNN graph?"""

from __future__ import annotations

from scmobench.metrics.neighbors import ScoredEmbedding, finite, quiet


def graph_conn(embedding: ScoredEmbedding) -> float:
    """Mean over cell types of |largest connected component of the type's subgraph| / |type|.

    scib's ``graph_connectivity`` (Luecken et al. 2022, Nature Methods, Methods, "Graph connectivity").
    """
    cells = embedding.connected_cells("cell_type")
    with quiet():
        import scib

        value = scib.metrics.graph_connectivity(cells, label_key="cell_type")
    return finite(value, "the connectivity of cell types is not defined")
