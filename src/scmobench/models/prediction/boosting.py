"""Gradient boosting of several targets at once: each tree's leaves hold a value for every target."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.tree import DecisionTreeRegressor

MIN_LEAF = 20  # samples
SKETCH = 10  # directions that a tree's splits see, of more targets


@dataclass
class Boosting:
    """Squared-error gradient boosting (Friedman 2001, Annals of Statistics 29:1189) with vector leaves.

    Each round makes one tree for all targets, not one tree for each target. A split is the one that lowers
    the sum of their squared errors most. With more than ten targets, the splits of a tree are found on ten
    random projections of the residuals. Each tree draws its own (SketchBoost, Iosipoi & Vakhrushev 2022,
    NeurIPS).
    """

    rounds: int  # trees
    learning_rate: float  # shrinkage of each tree
    max_leaves: int  # of a tree
    l2: float  # penalty on leaf values: a leaf of n samples keeps n / (n + l2) of their mean residual

    def fit(self, X: np.ndarray, Y: np.ndarray, seed: int, timed: Callable[[float], None]) -> "Boosting":
        """Fit samples x features to samples x targets; ``timed`` is told the seconds of the first tree."""
        X, draw = np.asfortranarray(X, np.float32), np.random.RandomState(seed)
        self.trees: list[tuple[DecisionTreeRegressor, np.ndarray]] = []
        self.mean = Y.mean(axis=0, dtype=np.float64)
        residual = Y - self.mean
        for number in range(self.rounds):
            begun, targets = time.monotonic(), residual.shape[1]
            seen = residual if targets <= SKETCH else residual @ draw.normal(size=(targets, SKETCH))
            tree = DecisionTreeRegressor(
                max_leaf_nodes=self.max_leaves, min_samples_leaf=MIN_LEAF, random_state=draw
            ).fit(X, seen)
            leaf = tree.apply(X)
            members = sp.csr_matrix((np.ones(len(X)), (leaf, np.arange(len(X)))))
            shrunken = self.learning_rate / np.maximum(np.bincount(leaf) + self.l2, 1)
            values = members @ residual * shrunken[:, None]
            residual -= values[leaf]
            self.trees.append((tree, values))
            if number == 0:
                timed(time.monotonic() - begun)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Samples x targets."""
        X = np.asarray(X, np.float32)
        return self.mean + sum(values[tree.apply(X)] for tree, values in self.trees)
