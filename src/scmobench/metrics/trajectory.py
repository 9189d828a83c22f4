"""Trajectory conservation: is the order of cells along differentiation kept?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.metrics.neighbors import ScoredEmbedding, finite, quiet
from scmobench.types import NotApplicable

REFERENCES = ("pseudotime_order_GEX", ("pseudotime_order_ADT", "pseudotime_order_ATAC"))


def ti_cons_batch_mean(embedding: ScoredEmbedding) -> float:
    """Mean of the agreement with both reference pseudotimes, that of GEX and that of ADT or ATAC.

    For each, the mean over batches of (Spearman(reference, diffusion pseudotime on the embedding) + 1)
    / 2: scib's ``trajectory_conservation`` by batch (Luecken et al. 2022, Nature Methods, Methods,
    "Trajectory conservation"). Deviation: scib answers 0 where it finds no root cell; that is not a score
    and is not applicable here.

    Raises
    ------
    NotApplicable : a reference is missing, or scib finds no root cell or no correlation.
    """
    gex, others = REFERENCES
    other = next((name for name in others if _cells_with(embedding, name)), None)
    if not _cells_with(embedding, gex) or other is None:
        raise NotApplicable(f"the solution has no {gex}, or none of {' and '.join(others)}")
    return (_agreement(embedding, gex) + _agreement(embedding, other)) / 2


def _cells_with(embedding: ScoredEmbedding, column: str) -> int:
    return int(embedding.obs[column].notna().sum()) if column in embedding.obs else 0


def _agreement(embedding: ScoredEmbedding, column: str) -> float:
    after = embedding.connected_cells("batch", "cell_type")
    before = AnnData(obs=after.obs.copy())
    before.obs[column] = embedding.obs[column].to_numpy(float)
    found = f"{_cells_with(embedding, column)} of {embedding.n_cells} cells have a {column}"
    with quiet() as printed:
        import scib

        try:
            value = scib.metrics.trajectory_conservation(
                before, after, label_key="cell_type", pseudotime_key=column, batch_key="batch"
            )
        except (ValueError, np.linalg.LinAlgError, TypeError) as error:
            raise NotApplicable(f"scib: {error} ({found})") from error
    # Only a root that was not found makes scib's answer exactly 0, and it prints the reason.
    if value == 0:
        raise NotApplicable(f"scib: {printed.getvalue().strip()} ({found})")
    return finite(float(pd.to_numeric(value)), f"scib: pseudotimes do not vary ({found})")
