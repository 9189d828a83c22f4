"""Boosting with a value for every target in each leaf: scikit-learn's for one target, one tree by hand."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from scmobench.models.prediction import boosting as boosting_module
from scmobench.models.prediction.boosting import MIN_LEAF, Boosting

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype(np.float32)
Y = np.column_stack([np.abs(X[:, 0]) + X[:, 1], np.sin(2 * X[:, 2]), X[:, 3] * X[:, 4]])
Y += 0.1 * RNG.normal(size=Y.shape)


def fitted(Y: np.ndarray, X: np.ndarray = X, **changed: float) -> Boosting:
    settings = {"rounds": 30, "learning_rate": 0.1, "max_leaves": 8, "l2": 0.0} | changed
    return Boosting(**settings).fit(X, Y, 0, lambda _: None)


def test_one_target_is_boosted_as_scikit_learn_does() -> None:
    settings = {"n_estimators": 30, "learning_rate": 0.1, "max_depth": None, "max_leaf_nodes": 8}
    known = GradientBoostingRegressor(**settings, min_samples_leaf=MIN_LEAF, criterion="squared_error")
    known.fit(X, Y[:, 0])
    np.testing.assert_allclose(fitted(Y[:, :1]).predict(X)[:, 0], known.predict(X), atol=1e-6)


def test_a_leaf_holds_the_shrunken_mean_of_each_target() -> None:
    boosting = fitted(Y, rounds=1, learning_rate=0.5, max_leaves=2, l2=3.0)
    tree, _ = boosting.trees[0]
    for leaf in np.unique(tree.apply(X)):
        inside = tree.apply(X) == leaf
        step = 0.5 * inside.sum() / (inside.sum() + 3) * (Y - Y.mean(0))[inside].mean(0)
        np.testing.assert_allclose(boosting.predict(X[inside])[0], Y.mean(0) + step, atol=1e-6)


def test_splits_of_many_targets_are_found_on_few_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out cells are predicted as well as by trees that see all targets."""
    many = Y @ RNG.normal(size=(3, 40))
    learned, asked = many[:300] + RNG.normal(size=(300, 40)), many[300:]

    def error() -> float:
        boosting = fitted(learned, X[:300])
        assert {tree.tree_.n_outputs for tree, _ in boosting.trees} == {min(boosting_module.SKETCH, 40)}
        return float(np.mean((boosting.predict(X[300:]) - asked) ** 2))

    few = error()
    assert few == error()
    assert few < 0.7 * np.mean((learned.mean(axis=0) - asked) ** 2)
    monkeypatch.setattr(boosting_module, "SKETCH", 40)
    assert few < 1.05 * error()


def test_the_first_tree_is_timed() -> None:
    told: list[float] = []
    Boosting(rounds=3, learning_rate=0.1, max_leaves=4, l2=0.0).fit(X, Y, 0, told.append)
    assert len(told) == 1
    assert told[0] > 0
