"""Trajectory conservation: is the order of cells along differentiation kept?"""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse.csgraph import connected_components

from scmobench.metrics.neighbors import EMBEDDING, NEIGHBORS, ScoredEmbedding, finite, quiet
from scmobench.types import COUNTED, PROTOCOL, NotApplicable, Score

GEX = "pseudotime_order_GEX"
OTHERS = ("pseudotime_order_ADT", "pseudotime_order_ATAC")
NO_ROOT = "scib: No root cell found, setting trajectory conservation metric to 0."  # records hold these words
ROOT_AXES = 3  # axes of the diffusion map by which scib chooses the root cell (``get_root``, ``dpt_dim``)
SAME_EIGENVALUE = 1e-5
"""Eigenvalues closer than this count as equal. The graph is float32, so they carry errors of about 1e-7,
and an eigenvector turns by about error / gap."""
MIN_CELLS = 11  # diffusion pseudotime reads ten axes, of which a map has one fewer than cells
TIED = 0.01  # share of cells at crowded points above which the graph is not defined


def ti_cons_batch_mean(embedding: ScoredEmbedding) -> Score:
    """Mean of the agreement with both reference pseudotimes, of GEX and of ADT or ATAC.

    For each, the mean over batches of (Spearman(reference, diffusion pseudotime on the embedding) + 1)
    / 2: scib's ``trajectory_conservation`` by batch (Luecken et al. 2022, Nature Methods, Methods,
    "Trajectory conservation"). Three axes vote for the root cell. If each votes for another cell, the first
    of these in the file is the root, as in scib: in random embeddings, another order of cells changes the
    score by up to 0.1. Two deviations:

    - scib returns 0 if it finds no root cell. On the competition's own test sets this 0 counts, as in the
      competition, and the `Score` has a reason. On other data the metric is not applicable.
    - scib also scores embeddings in which rounding decides the graph or the root cell, for example if all
      cells of a type lie at one point. Such a score differs between processors, and changes by up to 0.2 if
      the embedding changes by 1e-6. Here the metric is not applicable, see `_diffusion_map`.

    Raises NotApplicable if fewer than 11 connected cells have a reference; a cell has no batch or type; no
    root cell is found, or no pseudotime varies within a batch; rounding decides the score; or there is no
    graph, see `ScoredEmbedding.connected_cells`.
    """
    other = next((name for name in OTHERS if _cells_with(embedding, name)), None)
    if not _cells_with(embedding, GEX) or other is None:
        raise NotApplicable(f"the solution has no {GEX}, or none of {' and '.join(OTHERS)}")
    graph, maps = embedding.connected_cells("batch", "cell_type"), {}
    for name in (GEX, other):
        known = embedding.obs[name].notna().to_numpy()
        if known.tobytes() not in maps:  # most often, both references have the same cells
            maps[known.tobytes()] = _diffusion_map(graph[known])
        maps[name] = maps[known.tobytes()]
    both = [_agreement(embedding, name, *maps[name]) for name in (GEX, other)]
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


def _agreement(embedding: ScoredEmbedding, column: str, inside: np.ndarray, mapped: AnnData) -> Score:
    """Agreement with one reference; 0 with a reason where the competition counts a missing root.

    ``inside`` and ``mapped`` are of the cells with this reference, see `_diffusion_map`.
    """
    labels = embedding.obs[[column, "batch", "cell_type"]].dropna(subset=column)
    reference, after = labels[column].astype(float), pd.Series(0.0, labels.index)
    start = reference.groupby(labels["cell_type"].astype(str)).mean().idxmin()
    candidates = np.flatnonzero(labels["cell_type"].astype(str)[inside] == start)
    if not len(candidates):
        if embedding.protocol == PROTOCOL:
            return Score(0.0, f"no root cell is found by {column} ({_found(embedding, column)})")
        raise NotApplicable(f"{NO_ROOT} ({_found(embedding, column)})")
    with quiet():
        import scanpy as sc

        mapped.uns["iroot"] = candidates[_most_extreme(mapped.obsm["X_diffmap"][:, :ROOT_AXES], candidates)]
        sc.tl.dpt(mapped)
        times = mapped.obs["dpt_pseudotime"].to_numpy(float)
        after[inside] = np.where(times <= 1, times, 0)
        agreed = [
            reference[cells].corr(after[cells], "spearman")
            for cells in (labels["batch"].to_numpy() == batch for batch in labels["batch"].unique())
        ]
        return Score((float(np.nanmean(agreed)) + 1) / 2)


def _most_extreme(axes: np.ndarray, candidates: np.ndarray) -> int:
    """The candidate that is the outermost on most axes, on the side of the candidates' mean."""
    votes = np.zeros(len(candidates))
    for axis in axes.T:
        outermost = np.argmin if axis[candidates].mean() < axis.mean() else np.argmax
        votes[outermost(axis[candidates])] += 1
    return int(votes.argmax())


def _diffusion_map(cells: AnnData) -> tuple[np.ndarray, AnnData]:
    """Which cells are in the largest component of the graph, and that component with its diffusion map.

    Checks that the data, and not rounding, decide the graph and the axes by which the root cell is chosen. If
    more cells lie at one point than a cell has neighbours, rounding decides which are the nearest. If two
    eigenvalues of the diffusion map are equal, rounding decides the rotation of their axes.

    Raises NotApplicable if more than `TIED` of the cells lie at crowded points, there is no map, or
    eigenvalues of the first `ROOT_AXES` axes and the next one differ by less than `SAME_EIGENVALUE`.
    """
    _, counts = np.unique(cells.obsm[EMBEDDING], axis=0, return_counts=True)
    crowded = counts[counts > NEIGHBORS].sum()
    if crowded > TIED * cells.n_obs:
        raise NotApplicable(
            f"{crowded} of {cells.n_obs} cells with a pseudotime lie at points of more than {NEIGHBORS} "
            "cells, and rounding decides which are neighbours"
        )
    _, component = connected_components(cells.obsp["connectivities"], directed=False)
    inside = component == pd.Series(component).value_counts().idxmax()
    if inside.sum() < MIN_CELLS:
        raise NotApplicable(f"{inside.sum()} connected cells have a pseudotime; {MIN_CELLS} are needed")
    largest = cells[inside].copy()
    with quiet():
        import scanpy as sc

        try:
            sc.tl.diffmap(largest)
        except (ValueError, np.linalg.LinAlgError, TypeError) as error:
            raise NotApplicable(f"scanpy finds no diffusion map of {inside.sum()} cells: {error}") from error
    if (-np.diff(largest.uns["diffmap_evals"][: ROOT_AXES + 1]) < SAME_EIGENVALUE).any():
        raise NotApplicable("the diffusion map has equal eigenvalues, and rounding decides its root cell")
    return inside, largest
