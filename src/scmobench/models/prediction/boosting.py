"""Gradient boosting of several targets at once: each tree's leaves hold a value for every target."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.tree import DecisionTreeRegressor

MIN_LEAF = 20  # samples


@dataclass
class Boosting:
    """Squared-error gradient boosting (Friedman 2001, Annals of Statistics 29:1189) with vector leaves.

    A split serves all targets: it lowers the sum of their squared errors the most. So one tree a round takes
    the place of one a target.

    Attributes
    ----------
    rounds : trees.
    learning_rate : shrinkage of each tree.
    max_leaves : of a tree.
    l2 : penalty on leaf values: a leaf of n samples keeps n / (n + l2) of their mean residual.
    """

    rounds: int
    learning_rate: float
    max_leaves: int
    l2: float
    trees: list[tuple[DecisionTreeRegressor, np.ndarray]] = field(default_factory=list)

    def fit(self, X: np.ndarray, Y: np.ndarray, seed: int, timed: Callable[[float], None]) -> "Boosting":
        """Fit samples x features to samples x targets; ``timed`` is told the seconds of the first tree."""
        X, draw = np.asfortranarray(X, np.float32), np.random.RandomState(seed)
        self.mean = Y.mean(axis=0, dtype=np.float64)
        residual = Y - self.mean
        for number in range(self.rounds):
            begun = time.monotonic()
            tree = DecisionTreeRegressor(
                max_leaf_nodes=self.max_leaves,
                min_samples_leaf=MIN_LEAF,
                random_state=draw,
            ).fit(X, residual)
            n = tree.tree_.n_node_samples
            values = tree.tree_.value[:, :, 0] * (self.learning_rate * n / (n + self.l2))[:, None]
            residual -= values[tree.apply(X)]
            self.trees.append((tree, values))
            if number == 0:
                timed(time.monotonic() - begun)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Samples x targets."""
        X = np.asarray(X, np.float32)
        return self.mean + sum(values[tree.apply(X)] for tree, values in self.trees)
