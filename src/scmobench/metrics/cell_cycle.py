"""Cell-cycle conservation: does the embedding keep what the cell cycle explains of the expression?"""

from __future__ import annotations

import numpy as np

from scmobench.metrics.neighbors import EMBEDDING, ScoredEmbedding, finite, quiet
from scmobench.types import NotApplicable, Score

MIN_GENES = 3
SCORES = ["S_score", "G2M_score"]


def cc_cons(embedding: ScoredEmbedding) -> Score:
    """Mean over batches of max(0, 1 - |V_after - V_before| / V_before).

    V is the variance that S and G2M scores explain by principal component regression, on 50 components
    of GEX (before) and of the embedding (after): scib's ``cell_cycle`` (Luecken et al. 2022, Nature
    Methods, Methods, "Cell-cycle conservation"). Scores of the dataset are used where every scored cell
    has them, else they are computed per batch from the organism's genes; the two give different numbers,
    so the returned `Score` says which.

    Raises
    ------
    NotApplicable : no batch; no scores and an unknown organism or fewer than 3 genes of a phase; a batch
        too small for a principal component; or GEX without variance.
    """
    batch = embedding.categories("batch")
    smallest = batch.value_counts().min()
    if smallest < 3:
        raise NotApplicable(f"the smallest batch has {smallest} scored cells; at least 3 are needed")
    given = all(c in embedding.obs and embedding.obs[c].notna().all() for c in SCORES)
    with quiet():
        note = "S and G2M scores of the dataset" if given else _genes_found(embedding)
        import scib

        gex = embedding.gex.copy()
        gex.obs["batch"] = batch
        value = scib.metrics.cell_cycle(
            gex,
            embedding.cells("batch"),
            batch_key="batch",
            embed=EMBEDDING,
            organism=embedding.organism or "human",
            recompute_cc=not given,
        )
    return Score(finite(value, "the embedding or the expression has no variance in any batch"), note)


def _genes_found(embedding: ScoredEmbedding) -> str:
    """How many genes of each phase the scores are computed from, in words."""
    import scib

    if not embedding.organism:
        raise NotApplicable("neither S and G2M scores nor uns['organism'] are in the solution")
    try:
        known = scib.preprocessing.get_cell_cycle_genes(embedding.organism)
    except AssertionError as error:
        raise NotApplicable(f"scib: {error}") from error
    found = {}
    for phase, genes in known.groupby("phase"):
        # scib takes names or identifiers, whichever finds more.
        found[phase] = max(int(np.isin(genes[c], embedding.gex.var_names).sum()) for c in genes.columns[:2])
    text = " and ".join(f"{n} {phase}" for phase, n in sorted(found.items()))
    if min(found.values()) < MIN_GENES:
        raise NotApplicable(f"too few cell-cycle genes: {text}; at least {MIN_GENES} each are needed")
    return f"S and G2M scores recomputed from {text} genes"
