"""Modality matching: the weight that a cell gives to its own profile in the other modality.

Every function takes the n x n similarity P (rows mod1, columns the shuffled mod2, most values not stored),
the true column ``partner[i]`` of row i, and the cell types of the rows where known. With the competition's
``pairing_ix`` (mod2_shuffled[k] = mod2[pairing_ix[k]]), ``partner`` is ``argsort(pairing_ix)``.
"""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scmobench.types import NotApplicable


def match_probability(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> float:
    """Mean probability that a cell is given its own profile; the competition's ranking metric.

    (1/n) sum_i max(P[i, c(i)], 0) / sum_j max(P[i, j], 0), with c(i) the partner. Top-1 accuracy for a
    hard matching; 1/n by chance. Deviation from the competition's code: a row without any positive weight
    scores 0; there it turned the whole score into NaN.
    """
    return float(partner_probability(similarity, partner).mean())


def partner_probability(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> np.ndarray:
    """Probability that each cell is given its own profile, length n; 0 for a row without weight."""
    weights = _row_probabilities(similarity, partner)
    return np.asarray(weights[np.arange(len(partner)), partner]).ravel()


def pairing_auroc(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> float:
    """Area under the ROC curve over all n^2 pairs, of which the true pairs are positive.

    Values that are not stored are 0 and tie with each other; ties count one half.

    Raises NotApplicable for one cell, so that no pair is wrong.
    """
    right, wrong = _ranked_pairs(similarity, partner)
    above = np.cumsum(right) - right
    return float(np.sum(wrong * (above + right / 2)) / (right.sum() * wrong.sum()))


def pairing_aupr(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> float:
    """Area under the precision-recall curve over all n^2 pairs, of which the true pairs are positive.

    Average precision, sum_k (R_k - R_{k-1}) Q_k over distinct values, so that tied pairs (among them all
    that are not stored) enter at once. Deviation: the competition's R code draws tied pairs in random order
    and takes trapezoids. This is not reproducible and, for a sparse prediction, a little higher.

    Raises NotApplicable for one cell, so that no pair is wrong and every prediction scores 1.
    """
    right, wrong = _ranked_pairs(similarity, partner)
    hits = np.cumsum(right)
    precision = hits / (hits + np.cumsum(wrong))
    return float(np.sum(right / right.sum() * precision))


def foscttm(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> float:
    """Fraction of samples closer than the true match, averaged over both modalities.

    For row i, the share of the other n - 1 columns with P[i, j] > P[i, c(i)]; the same for columns; the
    mean of both means. 0 is perfect, 0.5 is chance (Singh et al. 2020, SCOT, section 3.2; ties count
    one half here, so that a constant similarity is chance and not perfect).

    Raises NotApplicable for one cell, and for a similarity of 0, which counts as not stored.
    """
    similarity = _checked(similarity, partner)
    n = similarity.shape[0]
    if n < 2:
        raise NotApplicable("one cell: there is no other sample")
    if similarity.nnz < n * n:
        raise NotApplicable(f"{similarity.nnz} of {n * n} similarities are stored; all are needed")
    dense = similarity.toarray()
    own = dense[np.arange(n), partner]
    column_own = np.empty_like(own)
    column_own[partner] = own
    share = 0.0
    for values, true in ((dense, own[:, None]), (dense, column_own[None, :])):
        closer, ties = (values > true).sum(), (values == true).sum() - n
        share += (closer + ties / 2) / (n * (n - 1))
    return float(share / 2)


def cell_type_match(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> float:
    """Mean probability that a cell is given a profile of its own cell type.

    (1/n) sum_i sum_j max(P[i, j], 0) [type i = type j] / sum_j max(P[i, j], 0); a row without weight
    scores 0.

    Raises NotApplicable for a cell without a type, and if all cells are of one type, so that no match is
    wrong.
    """
    return float(type_probability(similarity, partner, cell_type).mean())


def type_probability(similarity: sp.csr_matrix, partner: np.ndarray, cell_type=None) -> np.ndarray:
    """Probability that each cell is given a profile of its own type, see `cell_type_match`; length n."""
    weights = _row_probabilities(similarity, partner).tocoo()
    if cell_type is None:
        raise NotApplicable("the solution has no cell_type")
    if missing := int(pd.isna(cell_type).sum()):
        raise NotApplicable(f"{missing} cells have no cell_type")
    rows, types = pd.factorize(np.asarray(cell_type, dtype=object))
    if len(types) < 2:
        raise NotApplicable(f"all cells are of one type, {types[0]}: every match is within it")
    columns = np.empty_like(rows)
    columns[partner] = rows
    equal = rows[weights.row] == columns[weights.col]
    return np.bincount(weights.row[equal], weights.data[equal], minlength=len(rows))


def _checked(similarity: sp.csr_matrix, partner: np.ndarray) -> sp.csr_matrix:
    """A CSR float64 copy without duplicates and zeros: a dense file stores them, a sparse one may not."""
    n = len(partner)
    if similarity.shape != (n, n) or n == 0:
        raise ValueError(
            f"expected a similarity of {n} x {n} test cells, found {similarity.shape}; "
            f"rows are mod1 and columns the shuffled mod2"
        )
    matrix = sp.csr_matrix(similarity, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _row_probabilities(similarity: sp.csr_matrix, partner: np.ndarray) -> sp.csr_matrix:
    """Positive part of the similarity, each row divided by its sum."""
    weights = _checked(similarity, partner)
    np.maximum(weights.data, 0, out=weights.data)
    total = np.asarray(weights.sum(axis=1)).ravel()
    weights.data /= np.repeat(np.where(total > 0, total, 1.0), np.diff(weights.indptr))
    return weights


def _ranked_pairs(similarity: sp.csr_matrix, partner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of true and of wrong pairs at each distinct similarity, highest first."""
    pairs = _checked(similarity, partner)
    n = pairs.shape[0]
    if n < 2:
        raise NotApplicable("one cell: every pair is a true one")
    is_true = pairs.indices == np.repeat(partner, np.diff(pairs.indptr))
    values, group = np.unique(np.append(pairs.data, 0.0), return_inverse=True)
    group, zero = group[:-1], group[-1]
    stored = np.bincount(group, minlength=len(values)).astype(np.float64)
    right = np.bincount(group[is_true], minlength=len(values)).astype(np.float64)
    stored[zero] += float(n) * n - pairs.nnz
    right[zero] += n - is_true.sum()
    return right[::-1], (stored - right)[::-1]
