"""Feature-feature edges: from gene sets, from a table of the user, or learned from training cells.

Each function returns P, features x features in CSR. Row i holds the in-neighbours of feature i. An entry of
weight 0 may be stored: this edge carries no message, but counts as a neighbour.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scmobench.data.genesets import gene_set_file, read_gmt
from scmobench.data.preprocess import as_csr

CHUNK = 8192  # cells worked on at a time
FEATURES = 2048  # features whose similarities are computed at a time
MOST_CELLS = 2000  # that a feature graph is learned from
Edges = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns, weights


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
    weight, threshold, neighbours : see `gene_set_edges` and `coexpression_edges`.
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


def gene_set_edges(
    X: sp.csr_matrix,
    names: Sequence[str],
    sets: Mapping[str, Iterable[str]],
    *,
    weight: str = "cosine",
    threshold: float | None = None,
) -> sp.csr_matrix:
    """One edge for every ordered pair of distinct genes that share a set.

    Source: scMoGNN (Wen et al. 2022), section 4.1. Gene symbols are compared without regard to
    case, so that human sets serve mouse data by the symbols of their orthologues.

    Parameters
    ----------
    X : training cells x features, normalised: weights are similarities of its columns.
    names : names of the features.
    sets : genes of each set.
    weight : ``cosine`` or ``pearson`` similarity of the two genes, or ``one``. A gene without a count in the
        training cells (Pearson: without variance) has no similarity and no edges.
    threshold : drop edges with |weight| <= threshold; None keeps all.
    """
    place = {str(name).upper(): i for i, name in enumerate(names)}
    columns = sp.csc_matrix(as_csr(X))
    edges = []
    for genes in sets.values():
        members = np.array(sorted({place[g.upper()] for g in genes if g.upper() in place}), dtype=np.int64)
        if len(members) < 2:
            continue
        block = _similarity(columns[:, members].tocsr(), weight)
        a, b = np.nonzero(~np.eye(len(members), dtype=bool))
        edges.append((members[a], members[b], block[a, b]))
    return _matrix(edges, len(names), threshold)


def table_edges(path: str | Path, names: Sequence[str], *, threshold: float | None = None) -> sp.csr_matrix:
    """Edges of a tab-separated table with columns feature_a, feature_b, weight; both directions.

    A pair of two ``names`` is an edge. A pair of one name with another word (a peak-gene link, if the names
    are peaks) joins this name to all names with the same partner. The weight of such an edge is the product
    of the two weights. A pair without any of the names is left out. Raises FileNotFoundError if there is no
    such file, and ValueError for other columns, a weight that is not a number, and a table that joins no two
    features.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a table of feature-feature edges at {path}, found none")
    table = pd.read_csv(path, sep="\t")
    if not {"feature_a", "feature_b", "weight"} <= set(table.columns):
        raise ValueError(
            f"expected columns feature_a, feature_b, weight in {path}, found {list(table.columns)}"
        )
    place = pd.Series(np.arange(len(names)), index=pd.Index(names, dtype=str))
    first, second = (place.reindex(table[c].astype(str)).to_numpy() for c in ("feature_a", "feature_b"))
    weights = pd.to_numeric(table["weight"], errors="coerce").to_numpy(dtype=float)
    if np.isnan(weights).any():
        raise ValueError(f"expected a number as weight in every row of {path}, found others")
    known = ~np.isnan(first) & ~np.isnan(second) & (first != second)
    a, b, w = first[known].astype(int), second[known].astype(int), weights[known]
    shared = _shared_partners(table, first, second, weights, len(names))
    if not len(a) and not len(shared[0]):
        few = ", ".join(map(str, names[:3]))
        raise ValueError(
            f"expected pairs of the input's features ({few}, …) in {path}, or several of them with one "
            f"partner; found neither in its {len(table)} rows"
        )
    return _matrix([(a, b, w), (b, a, w), shared], len(names), threshold)


def _shared_partners(
    table: pd.DataFrame, first: np.ndarray, second: np.ndarray, weights: np.ndarray, size: int
) -> Edges:
    """Edges of features with a partner in common; ``first``, ``second``: places, NaN for other names."""
    one = np.isnan(first) != np.isnan(second)
    feature = np.where(np.isnan(first), second, first)[one].astype(int)
    partner = np.where(np.isnan(first), table["feature_a"], table["feature_b"])[one].astype(str)
    codes, partners = pd.factorize(partner)
    links = sp.csr_matrix((weights[one], (feature, codes)), shape=(size, len(partners)))
    shared = (links @ links.T).tocoo()
    apart = shared.row != shared.col
    return shared.row[apart], shared.col[apart], shared.data[apart]


def coexpression_edges(
    X: sp.csr_matrix,
    *,
    neighbours: int = 10,
    weight: str = "cosine",
    threshold: float | None = None,
    seed: int = 0,
) -> sp.csr_matrix:
    """Edges between each feature and its most similar ones over training cells, both directions.

    The default without prior knowledge; not part of the paper. Of more than `MOST_CELLS`, so many are drawn.
    ``neighbours`` are counted for each feature, before the two directions are joined. ``weight`` is as in
    `gene_set_edges`; ``one`` picks by cosine.
    """
    X = as_csr(X)
    if X.shape[0] > MOST_CELLS:
        X = X[np.sort(np.random.default_rng(seed).choice(X.shape[0], MOST_CELLS, replace=False))]
    size = X.shape[1]
    neighbours = min(neighbours, size - 1)
    dense = _unit_columns(X.toarray(), centred=weight == "pearson")
    edges = []
    for start in range(0, size if neighbours > 0 else 0, FEATURES):
        block = dense[:, start : start + FEATURES].T @ dense
        index = np.arange(start, start + len(block))
        block[np.arange(len(block)), index] = -np.inf
        best = np.argpartition(-block, neighbours - 1, axis=1)[:, :neighbours]
        found = np.take_along_axis(block, best, 1).ravel()
        kept = found > 0
        a, b, found = np.repeat(index, neighbours)[kept], best.ravel()[kept], found[kept]
        found = np.ones_like(found) if weight == "one" else found
        edges += [(a, b, found), (b, a, found)]
    return _matrix(edges, size, threshold)


def _unit_columns(dense: np.ndarray, *, centred: bool) -> np.ndarray:
    """Columns of length 1; a zero column (with ``centred`` a constant one) is 0."""
    original = np.abs(dense).max(axis=0, initial=0)
    if centred:
        dense = dense - dense.mean(axis=0, dtype=np.float64).astype(dense.dtype)
    norms = np.sqrt((dense.astype(np.float64) ** 2).sum(axis=0))
    flat = norms <= 1e-6 * original * np.sqrt(len(dense))
    return np.where(flat, 0, dense / np.where(flat, 1, norms)).astype(np.float32)


def _similarity(X: sp.csr_matrix, weight: str) -> np.ndarray:
    """Similarities of the columns, centred implicitly; NaN for a column of length (Pearson: variance) 0."""
    size = X.shape[1]
    if weight == "one":
        return np.ones((size, size))
    products, sums = np.zeros((size, size)), np.zeros(size)
    for start in range(0, X.shape[0], CHUNK):
        part = X[start : start + CHUNK].toarray().astype(np.float64)
        products += part.T @ part
        sums += part.sum(axis=0)
    raw = products.diagonal().copy()
    if weight == "pearson":
        products -= np.outer(sums, sums) / X.shape[0]
    squares = products.diagonal()
    flat = squares <= 1e-12 * raw
    norms = np.sqrt(np.where(flat, 1, squares))
    return np.where(flat[:, None] | flat[None, :], np.nan, products / np.outer(norms, norms))


def _matrix(edges: list[Edges], size: int, threshold: float | None) -> sp.csr_matrix:
    """CSR of the edges without those of weight NaN; the first counts if a pair comes several times."""
    if not edges:
        return sp.csr_matrix((size, size), dtype=np.float32)
    row, col, value = map(np.concatenate, zip(*edges, strict=True))
    value = value.astype(np.float32)
    keep = ~np.isnan(value) if threshold is None else np.abs(value) > np.float32(threshold)
    key, first = np.unique(row[keep] * size + col[keep], return_index=True)
    return sp.csr_matrix((value[keep][first], (key // size, key % size)), shape=(size, size))
