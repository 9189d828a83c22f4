"""Assignment within batches against SciPy's dense solver, with hubs, ties and several batches."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from scmobench.models.matching import assignment, pruned
from scmobench.models.matching.assignment import assign, assign_softmax


def unit_factors(n, noise, seed=0, d=16):
    """Noisy views of the same n points on the sphere, float32."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, d))
    views = [points + noise * rng.standard_normal((n, d)) for _ in range(2)]
    return tuple((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in views)


def alone(S):
    """Sides whose product is S."""
    return np.asarray(S), np.eye(np.shape(S)[1])


def total(matching, S):
    assert (matching.sum(axis=0) == 1).all()
    assert (matching.sum(axis=1) == 1).all()
    return S[np.arange(len(S)), matching.indices].sum()


def optimum(S):
    return S[linear_sum_assignment(S, maximize=True)].sum()


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_pruned_solver_reaches_the_dense_optimum(monkeypatch, noise):
    monkeypatch.setattr(pruned, "DENSE_CELLS", 50)
    left, right = unit_factors(600, noise)
    S = left.astype(np.float64) @ right.T
    found = total(assign((left, right), ["a"] * 600, ["a"] * 600, top_k=10), S)
    assert found == pytest.approx(optimum(S), rel=1e-6)


def test_hubs_without_a_full_matching_among_the_best_pairs(monkeypatch):
    monkeypatch.setattr(pruned, "DENSE_CELLS", 50)
    left, right = unit_factors(400, 1.0)
    S = left.astype(np.float64) @ right.T
    S[:, :40] += 2
    S[:40] += 2
    found = total(assign(alone(S), ["a"] * 400, ["a"] * 400, top_k=5), S)
    assert found == pytest.approx(optimum(S), rel=1e-6)


def test_all_similarities_equal_still_gives_a_matching(monkeypatch):
    monkeypatch.setattr(pruned, "DENSE_CELLS", 50)
    S = np.zeros((120, 120))
    total(assign(alone(S), ["a"] * 120, ["a"] * 120, top_k=5), S)


def test_cells_are_matched_within_their_batch():
    left, right = unit_factors(90, 0.3)
    order = np.random.default_rng(1).permutation(90)
    batch1 = np.repeat(["a", "b", "c"], [20, 30, 40])
    matching = assign((left, right[order]), batch1, batch1[order])
    assert (batch1[order][matching.indices] == batch1).all()
    assert (order[matching.indices] == np.arange(90)).mean() > 0.9


@pytest.mark.parametrize("quantile", [0.0, 0.8, 0.9])
def test_softmax_assignment_against_a_dense_loop(quantile):
    left, right = unit_factors(120, 1.0)
    S = (left @ right.T).astype(np.float64) * 15
    rows = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    weights = rows + np.exp(S) / np.exp(S).sum(axis=0, keepdims=True)
    matching = assign_softmax(alone(S), ["a"] * 120, ["a"] * 120, quantile)
    inside = weights >= np.quantile(weights, quantile, axis=1)[:, None]
    inside |= weights >= np.quantile(weights, quantile, axis=0)
    dense = np.where(inside, weights, -1e6)
    assert optimum(dense) > 0  # they hold a full matching
    assert total(matching, dense) == pytest.approx(optimum(dense), rel=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.5, 0.8, 0.95, 0.99, 0.995])
def test_kept_pairs_reach_numpys_quantile(monkeypatch, quantile, ties):
    """At any number of cells: 289 at 0.995 keep two of each row and column."""
    kept = []
    monkeypatch.setattr(
        assignment, "solve_sparse", lambda pairs, values, n: kept.append(pairs) or np.arange(n)
    )
    for n in [*range(1, 30), 201, 289]:
        S = np.random.default_rng(n).integers(0, 3 if ties else 10**6, (n, n)).astype(float)
        S /= S.max() + 1
        every = np.arange(n)
        weights = assignment.softmax_sum(lambda r, c, S=S: S.astype(np.float32)[np.ix_(r, c)], n)(
            every, every
        )
        weights = weights.astype(np.float64)
        inside = weights >= np.quantile(weights, quantile, axis=1)[:, None]
        inside |= weights >= np.quantile(weights, quantile, axis=0)
        assign_softmax(alone(S), ["a"] * n, ["a"] * n, quantile)
        np.testing.assert_array_equal(kept.pop(), np.flatnonzero(inside))
    assert quantile != 0.995 or ties or inside.sum(axis=1).min() == 2


def test_above_what_is_held_ties_are_cut(monkeypatch):
    """Otherwise all pairs would be kept if all are equal."""
    kept = []
    monkeypatch.setattr(assignment, "HELD_CELLS", 50)

    def any_matching(pairs, values, n):
        kept.append(len(pairs))
        return np.arange(n)

    monkeypatch.setattr(assignment, "solve_sparse", any_matching)
    for n, most in ((50, 50 * 50), (60, 2 * 60 * 3)):
        assign_softmax(alone(np.zeros((n, n))), ["a"] * n, ["a"] * n, 0.95)
        assert kept[-1] <= most
    assert kept[0] == 50 * 50


def test_softmax_falls_back_to_all_pairs():
    S = np.zeros((60, 60))
    S[:, :3] = 5 + np.random.default_rng(0).random((60, 3))
    total(assign_softmax(alone(S), ["a"] * 60, ["a"] * 60, 0.95), S)


def test_softmax_above_what_is_held_reaches_the_optimum_of_all_pairs(monkeypatch):
    """Some cells change their type between the views: the kept pairs hold no full matching."""
    monkeypatch.setattr(pruned, "DENSE_CELLS", 50)
    left, right = unit_factors(400, 0.5)
    left[:60] = left[60:120] + 0.05 * left[:60]
    logits = 15 * left @ right.T
    every = np.arange(400)
    weights = assignment.softmax_sum(lambda rows, columns: logits[np.ix_(rows, columns)], 400)(every, every)
    with pytest.raises(ValueError, match="no full matching"):
        pruned.solve_sparse(*pruned.candidates(lambda r, c: weights[np.ix_(r, c)], 400, 2), 400)
    batch = ["a"] * 400
    dense = total(assign_softmax(alone(logits), batch, batch), weights.astype(np.float64))
    monkeypatch.setattr(assignment, "HELD_CELLS", 50)
    monkeypatch.setattr(assignment, "solve_dense", lambda _: pytest.fail("all pairs were held"))
    found = total(assign_softmax(alone(logits), batch, batch), weights.astype(np.float64))
    assert found == pytest.approx(dense, rel=1e-6) == optimum(weights.astype(np.float64))


def test_unequal_batches_and_bad_similarities_are_refused():
    with pytest.raises(ValueError, match="batch 'a' has 2 and 1"):
        assign(alone(np.eye(3)), ["a", "a", "b"], ["a", "b", "b"])
    with pytest.raises(ValueError, match=r"of 3 and 3 cells .* found"):
        assign(alone(np.ones((3, 2))), ["a"] * 3, ["a"] * 3)
    with pytest.raises(ValueError, match="n x d and n x d"):
        assign((np.ones((3, 2)), np.ones((3, 4))), ["a"] * 3, ["a"] * 3)
    with pytest.raises(ValueError, match="finite"):
        assign(alone(np.full((2, 2), np.nan)), ["a"] * 2, ["a"] * 2)
