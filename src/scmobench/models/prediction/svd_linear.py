"""Linear prediction between the truncated SVDs of two modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LinearRegression

from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.types import PredictionData


class SVDLinear(Model):
    """Predict mod2 as (A W + b) Vᵀ: A the SVD scores of mod1, Vᵀ the components of mod2.

    The linear baseline of the competition (Luecken et al. 2021, NeurIPS Datasets and Benchmarks):
    ordinary least squares with intercept between 50 components a side, projected back. Deviation: the
    SVD of mod1 is learned from the training cells alone unless ``transductive``.

    Parameters
    ----------
    n_components : of either SVD, at most.
    transductive : the SVD of mod1 also sees the test cells, as in the competition's starter kit.
    """

    def __init__(self, n_components: int = 50, transductive: bool = False) -> None:
        self.n_components = n_components
        self.transductive = transductive

    def fit(self, data: PredictionData, seed: int) -> SVDLinear:
        self.svd1 = SVD(self.n_components, seed).fit(input_cells(data))
        self.svd2 = SVD(self.n_components, seed)
        target = self.svd2.fit_transform(data.train_mod2.X)
        self.regression = LinearRegression().fit(self.svd1.transform(data.train_mod1.X), target)
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        scores = self.regression.predict(self.svd1.transform(data.test_mod1.X))
        return self.svd2.inverse_transform(scores)

    def report(self) -> dict[str, Any]:
        return {"parameters": self.regression.coef_.size + self.regression.intercept_.size}


def input_cells(data: PredictionData) -> sp.csr_matrix:
    """mod1 of the cells that an SVD may learn from: training cells, then test cells where present."""
    if data.test_mod1 is None:
        return data.train_mod1.X
    return sp.vstack([data.train_mod1.X, data.test_mod1.X], format="csr")
