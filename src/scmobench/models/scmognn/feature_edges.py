"""The choice of feature-feature edges for a prediction graph, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.genesets import gene_set_file, read_gmt
from scmobench.graph.pathway import coexpression_edges, gene_set_edges, table_edges
from scmobench.training.limits import at_least
from scmobench.types import feature_type


@dataclass(frozen=True)
class FeatureEdges:
    """Where feature-feature edges come from.

    Attributes
    ----------
    source : None, ``learned``, ``hallmark``, or the path of a GMT file or of a .tsv table.
    weight, threshold, neighbours : see `graph.pathway`.
    """

    source: str | None = None
    weight: str = "cosine"
    threshold: float | None = None
    neighbours: int = 10

    def __post_init__(self) -> None:
        at_least(1, pathway_neighbours=self.neighbours)

    def build(self, cells: AnnData, seed: int) -> tuple[sp.csr_matrix | None, list[str]]:
        """Edges among the features of the training cells (None: none), and notes for the record."""
        if self.source is None:
            return None, []
        if Path(self.source).suffix == ".tsv":
            edges = table_edges(self.source, cells.var_names, threshold=self.threshold)
            return self._with_note(edges, f"feature-feature edges of {Path(self.source).name}")
        modality = feature_type(cells)
        if modality != "GEX":
            return None, [f"no pathway edges: they join genes, and the input is {modality}"]
        shared = {"weight": self.weight, "threshold": self.threshold}
        if self.source == "learned":
            edges = coexpression_edges(cells.X, neighbours=self.neighbours, seed=seed, **shared)
            said = (
                f"feature graph learned from the training cells, {self.neighbours} nearest by {self.weight}"
            )
            return self._with_note(edges, said)
        path = gene_set_file(self.source)
        edges = gene_set_edges(cells.X, cells.var_names, read_gmt(path), **shared)
        return self._with_note(edges, f"pathway edges of {path.name} ({self.weight})")

    def _with_note(self, edges: sp.csr_matrix, said: str) -> tuple[sp.csr_matrix | None, list[str]]:
        if edges.nnz:
            return edges, [f"{said}: {edges.nnz}"]
        bound = "" if self.threshold is None else f" of a weight above {self.threshold}"
        return None, [f"{said}: no two features are joined{bound}, so there are none"]
