"""Trajectory conservation: is the order of cells along differentiation kept?"""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy.sparse.csgraph import connected_components

from scmobench.metrics.neighbors import EMBEDDING, NEIGHBORS, ScoredEmbedding, finite, quiet
from scmobench.types import COUNTED, PROTOCOL, NotApplicable, Score

GEX = "pseudotime_order_GEX"
OTHERS = ("pseudotime_order_ADT", "pseudotime_order_ATAC")
NO_ROOT = "No root cell found"
"""scib prints this where it returns 0 for that reason; a reversed order scores 0 as well."""
ROOT_AXES = 3
"""Axes of the diffusion map by which scib chooses the root cell (``get_root``, ``dpt_dim``)."""
SAME_EIGENVALUE = 1e-5
"""Eigenvalues closer than this count as equal. The graph is float32, so they carry errors of about 1e-7,
and an eigenvector turns by about error / gap."""
TIED = 0.01
"""Share of cells at crowded points above which the graph is not defined."""


def ti_cons_batch_mean(embedding: ScoredEmbedding) -> Score:
    """Mean of the agreement with both reference pseudotimes, of GEX and of ADT or ATAC.

    For each, the mean over batches of (Spearman(reference, diffusion pseudotime on the embedding) + 1)
    / 2: scib's ``trajectory_conservation`` by batch (Luecken et al. 2022, Nature Methods, Methods,
    "Trajectory conservation"). Deviation: scib returns 0 where it finds no root cell. On the competition's
    own test sets that 0 is counted, as the competition did, and the `Score` has a reason; elsewhere the
    metric is not applicable. Deviation: scib also scores embeddings in which rounding decides the graph or
    the root cell, as where all cells of a type lie at one point. Such a score differs between processors, and
    moves by up to 0.2 if the embedding moves by 1e-6. Here the metric is not applicable, see
    `_check_determined`.

    Raises
    ------
    NotApplicable : a reference is missing; a cell has no batch or type; scib finds no root cell, or no
        pseudotime varies within a batch; rounding decides the score; or no graph, see
        `ScoredEmbedding.connected_cells`.
    """
    other = next((name for name in OTHERS if _cells_with(embedding, name)), None)
    if not _cells_with(embedding, GEX) or other is None:
        raise NotApplicable(f"the solution has no {GEX}, or none of {' and '.join(OTHERS)}")
    graph = embedding.connected_cells("batch", "cell_type")
    known = [embedding.obs[name].notna().to_numpy() for name in (GEX, other)]
    for cells in {cells.tobytes(): cells for cells in known}.values():
        _check_determined(graph[cells])
    both = [_agreement(embedding, name) for name in (GEX, other)]
    values = [
        finite(score.value, f"scib: pseudotimes do not vary ({_found(embedding, name)})")
        for name, score in zip((GEX, other), both, strict=True)
    ]
    counted = [score.reason for score in both if score.reason]
    return Score(sum(values) / 2, f"{'; '.join(counted)}: {COUNTED}" if counted else "")


def _cells_with(embedding: ScoredEmbedding, column: str) -> int:
    return int(embedding.obs[column].notna().sum()) if column in embedding.obs else 0


def _found(embedding: ScoredEmbedding, column: str) -> str:
    return f"{_cells_with(embedding, column)} of {embedding.n_cells} cells have a {column}"


def _agreement(embedding: ScoredEmbedding, column: str) -> Score:
    """scib's agreement with one reference; 0 with a reason where the competition counts a missing root."""
    after, found = embedding.connected_cells("batch", "cell_type"), _found(embedding, column)
    before = AnnData(obs=after.obs.copy())
    before.obs[column] = embedding.obs[column].to_numpy(float)
    keys = {"label_key": "cell_type", "pseudotime_key": column, "batch_key": "batch"}
    with quiet() as printed:
        import scib

        try:
            value = scib.metrics.trajectory_conservation(before, after, **keys)
        except (ValueError, np.linalg.LinAlgError, TypeError) as error:
            raise NotApplicable(f"scib: {error} ({found})") from error
    if NO_ROOT in printed.getvalue():
        if embedding.protocol == PROTOCOL:
            return Score(0.0, f"no root cell is found by {column} ({found})")
        raise NotApplicable(f"scib: {printed.getvalue().strip()} ({found})")
    return Score(float(value))


def _check_determined(cells: AnnData) -> None:
    """Check that data, and not rounding, decide the graph and the axes by which scib chooses the root cell.

    Where more cells lie at one point than a cell has neighbours, any of them are the nearest. Where two
    eigenvalues of the diffusion map are equal, any rotation of their axes will do. scib makes the map of the
    largest component of the graph.

    Raises
    ------
    NotApplicable : more than `TIED` of the cells lie at crowded points, or eigenvalues of the first
        `ROOT_AXES` axes and the next one differ by less than `SAME_EIGENVALUE`.
    """
    _, counts = np.unique(cells.obsm[EMBEDDING], axis=0, return_counts=True)
    crowded = counts[counts > NEIGHBORS].sum()
    if crowded > TIED * cells.n_obs:
        raise NotApplicable(
            f"{crowded} of {cells.n_obs} cells with a pseudotime lie at points of more than {NEIGHBORS} "
            "cells, and rounding decides which are neighbours"
        )
    _, component = connected_components(cells.obsp["connectivities"], directed=False)
    largest = cells[component == np.bincount(component).argmax()].copy()
    with quiet():
        import scanpy as sc

        sc.tl.diffmap(largest)
    if (-np.diff(largest.uns["diffmap_evals"][: ROOT_AXES + 1]) < SAME_EIGENVALUE).any():
        raise NotApplicable("the diffusion map has equal eigenvalues, and rounding decides its root cell")
