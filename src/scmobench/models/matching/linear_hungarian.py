"""Matching by linear regression between two SVDs, cosine similarity and optimal assignment."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import normalize

from scmobench.data.reduce import SVD
from scmobench.models.matching.matcher import SimilarityMatching
from scmobench.types import MatchingData


@dataclass(kw_only=True)
class LinearHungarian(SimilarityMatching):
    """Predict a cell's mod2 SVD scores from its mod1 scores, and match it to a cell with similar scores.

    Ordinary least squares with intercept between the two SVDs of the training pairs; cosine
    similarity of predicted and measured scores; the one-to-one matching within batches that maximises
    it. This is the linear baseline of the competition's matching task (Luecken et al. 2021), with
    the optimal assignment (Kuhn 1955) in place of its nearest neighbours.
    """

    n_components: int = 50  # of either SVD, at most
    # subtract the training cells' mean mod2 scores before the cosine: the component that all cells share
    # would dominate it
    center: bool = True

    def fit(self, data: MatchingData, seed: int) -> "LinearHungarian":
        self.svd1, self.svd2 = SVD(self.n_components, seed), SVD(self.n_components, seed)
        source = self.svd1.fit_transform(data.train_mod1.X)
        target = self.svd2.fit_transform(data.train_mod2_paired.X)
        self.regression = LinearRegression().fit(source, target)
        self.mean = target.mean(axis=0) if self.center else np.zeros(target.shape[1], dtype=np.float32)
        return self

    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and measured mod2 scores at unit length: their product is the cosine."""
        predicted = self.regression.predict(self.svd1.transform(data.test_mod1.X)) - self.mean
        measured = self.svd2.transform(data.test_mod2.X) - self.mean
        return normalize(predicted), normalize(measured)

    def report(self) -> dict[str, Any]:
        return {"parameters": self.regression.coef_.size + self.regression.intercept_.size}
