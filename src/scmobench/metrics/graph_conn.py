"""Graph connectivity: is each cell type connected in the kNN graph?"""

from scmobench.metrics.neighbors import ScoredEmbedding, finite, quiet
from scmobench.types import NotApplicable


def graph_conn(embedding: ScoredEmbedding) -> float:
    """Mean over cell types of |largest connected component of the type's subgraph| / |type|.

    scib's ``graph_connectivity`` (Luecken et al. 2022, Nature Methods, Methods, "Graph connectivity").

    Raises NotApplicable if every type has one cell, so that every embedding scores 1; for a cell without a
    type; and without a graph, see `ScoredEmbedding.connected_cells`.
    """
    if embedding.categories("cell_type").value_counts().max() < 2:
        raise NotApplicable("every cell type has one scored cell: there is nothing to connect")
    cells = embedding.connected_cells("cell_type")
    with quiet():
        import scib

        value = scib.metrics.graph_connectivity(cells, label_key="cell_type")
    return finite(value, "the connectivity of cell types is not defined")
