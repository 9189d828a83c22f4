"""Matching metrics against scikit-learn on dense pairs, and against loops."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score, roc_auc_score

from scmobench.metrics import matching
from scmobench.types import NotApplicable

N = 30
EVERYWHERE = [
    matching.match_probability,
    matching.pairing_auroc,
    matching.pairing_aupr,
    matching.cell_type_match,
]


def pairing(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The partner column and the cell type of each row."""
    rng = np.random.default_rng(seed)
    return rng.permutation(n), rng.choice(["B", "T", "NK"], size=n)


def similarity(n: int = N, density: float = 0.3, seed: int = 1) -> sp.csr_matrix:
    """Sparse similarities with many ties, explicit zeros and empty rows."""
    rng = np.random.default_rng(seed)
    dense = np.round(rng.random((n, n)), 1) * (rng.random((n, n)) < density)
    dense[3] = 0
    matrix = sp.csr_matrix(dense)
    matrix.data[::7] = 0
    return matrix


def truth(partner: np.ndarray) -> sp.csr_matrix:
    """1 at each true pair."""
    n = len(partner)
    return sp.csr_matrix((np.ones(n), (np.arange(n), partner)), shape=(n, n))


def test_match_probability_equals_a_loop():
    partner, _ = pairing()
    matrix = similarity()
    matrix.data[1::9] *= -1
    total = 0.0
    for row, column in zip(np.maximum(matrix.toarray(), 0), partner, strict=True):
        total += row[column] / row.sum() if row.sum() > 0 else 0
    assert matching.match_probability(matrix, partner) == pytest.approx(total / N)


def test_match_probability_of_a_hard_matching_is_accuracy():
    partner, _ = pairing()
    guess = partner.copy()
    guess[:10] = np.roll(guess[:10], 1)
    assert matching.match_probability(truth(guess), partner) == pytest.approx(20 / 30)


def test_transposed_truth_scores_like_chance():
    partner, _ = pairing(400)
    assert matching.match_probability(truth(partner).T.tocsr(), partner) < 0.02


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_ranking_metrics_equal_scikit_learn_on_all_pairs(density):
    partner, _ = pairing()
    matrix = similarity(density=density)
    labels, values = truth(partner).toarray().ravel(), matrix.toarray().ravel()
    assert matching.pairing_auroc(matrix, partner) == pytest.approx(roc_auc_score(labels, values))
    assert matching.pairing_aupr(matrix, partner) == pytest.approx(average_precision_score(labels, values))


@pytest.mark.parametrize("value", [0, -1])
def test_a_row_without_weight_is_no_match_and_no_nan(value):
    partner, _ = pairing()
    matrix = truth(partner)
    matrix.data[3] = value
    assert matching.match_probability(matrix, partner) == pytest.approx((N - 1) / N)


def test_ranking_metrics_place_negative_values_below_those_not_stored():
    partner, _ = pairing()
    matrix = similarity()
    matrix.data[::5] *= -1
    labels, values = truth(partner).toarray().ravel(), matrix.toarray().ravel()
    assert matching.pairing_auroc(matrix, partner) == pytest.approx(roc_auc_score(labels, values))
    assert matching.pairing_aupr(matrix, partner) == pytest.approx(average_precision_score(labels, values))


def test_foscttm_equals_a_loop_over_both_modalities():
    partner, _ = pairing()
    dense = np.random.default_rng(2).random((N, N)) + 0.01
    shares = []
    for i, column in enumerate(partner):
        shares.append((dense[i] > dense[i, column]).sum() / (N - 1))
        shares.append((dense[:, column] > dense[i, column]).sum() / (N - 1))
    assert matching.foscttm(sp.csr_matrix(dense), partner) == pytest.approx(np.mean(shares))


def test_whether_zeros_are_stored_decides_no_score():
    partner, types = pairing()
    dense = np.round(np.random.default_rng(2).random((N, N)), 1)
    stored = sp.csr_matrix((dense.ravel(), np.tile(np.arange(N), N), np.arange(0, N * N + 1, N)), (N, N))
    for metric in EVERYWHERE:
        assert metric(stored, partner, types) == metric(sp.csr_matrix(dense), partner, types)
    for form in (stored, sp.csr_matrix(dense)):
        with pytest.raises(NotApplicable, match="all are needed"):
            matching.foscttm(form, partner)


def test_cell_type_match_equals_a_loop():
    partner, types = pairing()
    matrix = similarity()
    column_types = types[np.argsort(partner)]
    dense = matrix.toarray()
    shares = [
        (row * (column_types == kind)).sum() / row.sum() if row.sum() else 0
        for row, kind in zip(dense, types, strict=True)
    ]
    assert matching.cell_type_match(matrix, partner, types) == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("metric", EVERYWHERE)
def test_perfect_matching_scores_one(metric):
    partner, types = pairing()
    assert metric(truth(partner), partner, types) == pytest.approx(1)


@pytest.mark.parametrize("metric", EVERYWHERE)
def test_permuting_rows_and_columns_with_the_pairing_changes_nothing(metric):
    partner, types = pairing()
    matrix = similarity()
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(N), rng.permutation(N)
    moved = matrix[rows][:, columns]
    partner_moved = np.argsort(columns)[partner[rows]]
    assert metric(moved, partner_moved, types[rows]) == pytest.approx(metric(matrix, partner, types))


def test_large_sparse_similarity_is_not_made_dense():
    n = 60_000  # dense: 29 GB
    partner = np.random.default_rng(0).permutation(n)
    assert matching.pairing_auroc(truth(partner), partner) == 1
    assert matching.pairing_aupr(truth(partner), partner) == 1


def test_bad_shapes_are_explained():
    partner, _ = pairing()
    with pytest.raises(ValueError, match="30 x 30"):
        matching.match_probability(similarity()[:10], partner)


def test_input_is_left_alone():
    partner, types = pairing()
    matrix = similarity()
    matrix.data[1] = -1
    before = matrix.data.copy()
    for metric in EVERYWHERE:
        metric(matrix, partner, types)
    assert np.array_equal(matrix.data, before)
