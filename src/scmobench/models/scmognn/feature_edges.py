"""The choice of feature-feature edges for a prediction graph, with a note for the record."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from scmobench.data.genesets import gene_set_file, read_gmt
from scmobench.graph.pathway import coexpression_edges, gene_set_edges, table_edges


def feature_edges(
    values: sp.csr_matrix,
    var: pd.DataFrame,
    source: str | None,
    weight: str,
    threshold: float | None,
    neighbours: int,
    seed: int,
) -> tuple[sp.csr_matrix | None, list[str]]:
    """Edges among the features of the training cells (None: no edges), and notes for the record.

    Parameters
    ----------
    values, var : training cells x features, normalised; names and ``feature_types`` of the features.
    source : None; ``learned`` (co-expression in the training cells); ``hallmark`` (download); path of a GMT
        file, or of a table (.tsv) with columns feature_a, feature_b, weight, which serves any modality.
    weight, threshold, neighbours : see `graph.pathway`.
    """
    if source is None:
        return None, []
    if Path(source).suffix == ".tsv":
        edges = table_edges(source, var.index, threshold=threshold)
        note = f"feature-feature edges of {Path(source).name}"
    elif (modality := str(var["feature_types"].iloc[0])) != "GEX":
        return None, [f"no pathway edges: they join genes, and the input is {modality}"]
    elif source == "learned":
        shared = {"weight": weight, "threshold": threshold}
        edges = coexpression_edges(values, neighbours=neighbours, seed=seed, **shared)
        note = f"feature graph learned from the training cells, {neighbours} nearest by {weight}"
    else:
        path = gene_set_file(source)
        edges = gene_set_edges(values, var.index, read_gmt(path), weight=weight, threshold=threshold)
        note = f"pathway edges of {path.name} ({weight})"
    if edges.nnz:
        return edges, [f"{note}: {edges.nnz}"]
    bound = "" if threshold is None else f" of a weight above {threshold}"
    return None, [f"{note}: no two features are joined{bound}, so there are none"]
