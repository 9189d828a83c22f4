"""Cell-cycle conservation: does the cell cycle explain as much of the embedding as of the expression?"""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.metrics.components import principal_components
from scmobench.metrics.neighbors import ScoredEmbedding, finite, quiet
from scmobench.types import NotApplicable, Score

MIN_GENES = 3
MIN_CELLS = 4  # in a batch: an intercept and two scores fit any values of three cells exactly
COMPONENTS = 50
SAME = 1e-7  # scores that differ by less than this share of the largest are equal in single precision
USUAL = 1e3  # scores above it, or that vary by less than its inverse, are scaled
SCORES = ["S_score", "G2M_score"]


def cc_cons(embedding: ScoredEmbedding) -> Score:
    """Mean over batches of max(0, 1 - |V_after - V_before| / V_before).

    V is the variance that S and G2M scores explain by principal component regression, on 50 components
    of GEX (before) and of the embedding (after): scib's ``cell_cycle`` (Luecken et al. 2022, Nature
    Methods, Methods, "Cell-cycle conservation"). Scores of the data set are used if every scored cell
    has them. Otherwise they are computed per batch from the genes of the organism. The two give different
    numbers, so the `Score` says which were used.

    Deviations: dimensions that are constant within a batch are left out of its components (scib divides 0 by
    0 there). If V is not defined for a batch, the metric is not applicable (scib leaves the batch out of the
    mean, or returns the ratio of two rounding errors).

    Raises NotApplicable without batches; without scores for an unknown organism or fewer than 3 genes of a
    phase; for fewer than 4 cells in a batch; and for a batch in which both scores, GEX or the embedding do
    not vary.
    """
    batch = embedding.categories("batch")
    smallest = batch.value_counts().min()
    if smallest < MIN_CELLS:
        raise NotApplicable(f"the smallest batch has {smallest} scored cells; {MIN_CELLS} are needed")
    given = all(c in embedding.obs and embedding.obs[c].notna().all() for c in SCORES)
    with quiet():
        note = "S and G2M scores of the dataset" if given else _genes_found(embedding)
        kept = [_conserved(embedding, name, np.asarray(batch == name), given) for name in batch.unique()]
    return Score(float(np.mean(kept)), note)


def _conserved(embedding: ScoredEmbedding, batch: str, inside: np.ndarray, given: bool) -> float:
    """The score of one batch, whose cells are ``inside``."""
    import scib

    points, gex, scores = embedding.points(inside), embedding.gex.X[inside], embedding.obs.loc[inside]
    if not given:
        genes = AnnData(gex, obs=scores, var=embedding.gex.var)
        scib.preprocessing.score_cell_cycle(genes, organism=embedding.organism)
        scores = genes.obs
    scores = scores[SCORES]
    if (np.ptp(scores.to_numpy(), axis=0) <= SAME * scores.abs().max().to_numpy()).all():
        raise NotApplicable(f"the S and G2M scores of batch {batch} do not vary")
    scores = _plain(scores)
    before = _explained(gex, scores, f"the expression of batch {batch}")
    after = _explained(points, scores, f"the embedding of batch {batch}")
    if before < SAME:
        raise NotApplicable(f"S and G2M scores explain nothing of the expression of batch {batch}")
    return max(0.0, 1 - abs(after - before) / before)


def _plain(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of usual size as they are, others centred and of unit size; 0 for one that does not vary.

    What scores explain does not depend on place and size, but scib's inverse of their squares does.
    """
    largest, extent = scores.abs().max(), scores.max() - scores.min()
    varies = extent > SAME * largest
    if largest.max() < USUAL and (extent[varies] > 1 / USUAL).all():
        return scores
    unit = scores.loc[:, varies] / largest[varies]
    unit -= unit.mean()
    return (unit / unit.abs().max()).reindex(columns=scores.columns, fill_value=0.0)


def _explained(matrix: np.ndarray | sp.csr_matrix, scores: pd.DataFrame, what: str) -> float:
    """Share of the variance of cells x dimensions that the scores explain, over its components."""
    import scib

    varies = _varying(matrix)
    if not varies.any():
        raise NotApplicable(f"{what} has no variance")
    if not varies.all() and varies.sum() < min(COMPONENTS, len(scores)):  # else there are enough components
        matrix = matrix[:, varies]
        matrix = matrix if sp.issparse(matrix) else np.ascontiguousarray(matrix)
    variances = None  # scib's own components
    if sp.issparse(matrix) and min(matrix.shape) > COMPONENTS:
        matrix, variances = principal_components(matrix, COMPONENTS)
    components = {"pca_var": variances, "n_comps": COMPONENTS}
    share = scib.metrics.pc_regression(matrix, scores, linreg_method="numpy", **components)
    return finite(share, f"{what} has fewer components than dimensions")


def _varying(matrix: np.ndarray | sp.csr_matrix) -> np.ndarray:
    """Which columns hold more than one value."""
    if not sp.issparse(matrix):
        return np.ptp(matrix, axis=0) > 0
    stored = matrix.indices if matrix.data.all() else matrix.indices[matrix.data != 0]
    filled = np.bincount(stored, minlength=matrix.shape[1])
    varies, full = filled > 0, np.flatnonzero(filled == len(matrix.indptr) - 1)
    varies[full] = np.ptp(matrix[:, full].toarray(), axis=0) > 0
    return varies


def _genes_found(embedding: ScoredEmbedding) -> str:
    """How many genes of each phase the scores are computed from, in words."""
    import scib

    without = embedding.obs.reindex(columns=SCORES).isna().any(axis=1).sum()
    lacking = f"{without} of {embedding.n_cells} cells have no S and G2M scores"
    if not embedding.organism:
        own = "of your own cells: dataset.organism=human or mouse"
        raise NotApplicable(f"{lacking}, and uns['organism'] is not in the solution ({own})")
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
        raise NotApplicable(
            f"{lacking}, and too few cell-cycle genes: {text}; at least {MIN_GENES} each are needed"
        )
    return f"S and G2M scores recomputed from {text} genes"
