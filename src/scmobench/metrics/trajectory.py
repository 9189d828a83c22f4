"""Trajectory conservation: is the order of cells along differentiation kept?"""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scmobench.metrics.neighbors import ScoredEmbedding, finite, quiet
from scmobench.types import COUNTED, PROTOCOL, NotApplicable, Score

GEX = "pseudotime_order_GEX"
OTHERS = ("pseudotime_order_ADT", "pseudotime_order_ATAC")
NO_ROOT = "No root cell found"
"""scib prints this where it returns 0 for that reason; a reversed order scores 0 as well."""


def ti_cons_batch_mean(embedding: ScoredEmbedding) -> Score:
    """Mean of the agreement with both reference pseudotimes, of GEX and of ADT or ATAC.

    For each, the mean over batches of (Spearman(reference, diffusion pseudotime on the embedding) + 1)
    / 2: scib's ``trajectory_conservation`` by batch (Luecken et al. 2022, Nature Methods, Methods,
    "Trajectory conservation"). Deviation: scib returns 0 where it finds no root cell. On the competition's
    own test sets that 0 is counted, as the competition did, and the `Score` has a reason; elsewhere the
    metric is not applicable.

    Raises
    ------
    NotApplicable : a reference is missing; a cell has no batch or type; scib finds no root cell, or no
        pseudotime varies within a batch; or no graph, see `ScoredEmbedding.connected_cells`.
    """
    other = next((name for name in OTHERS if _cells_with(embedding, name)), None)
    if not _cells_with(embedding, GEX) or other is None:
        raise NotApplicable(f"the solution has no {GEX}, or none of {' and '.join(OTHERS)}")
    both = [_agreement(embedding, name) for name in (GEX, other)]
    counted = [score.reason for score in both if score.reason]
    note = f"{'; '.join(counted)}: {COUNTED}" if counted else ""
    return Score((both[0].value + both[1].value) / 2, note)


def _cells_with(embedding: ScoredEmbedding, column: str) -> int:
    return int(embedding.obs[column].notna().sum()) if column in embedding.obs else 0


def _agreement(embedding: ScoredEmbedding, column: str) -> Score:
    """Agreement with one reference; 0 with a reason where the competition counts a missing root as 0."""
    after = embedding.connected_cells("batch", "cell_type")
    before = AnnData(obs=after.obs.copy())
    before.obs[column] = embedding.obs[column].to_numpy(float)
    found = f"{_cells_with(embedding, column)} of {embedding.n_cells} cells have a {column}"
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
    return Score(finite(value, f"scib: pseudotimes do not vary ({found})"))
