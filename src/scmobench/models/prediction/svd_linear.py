"""Linear prediction between the truncated SVDs of two modalities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression

from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.projection import input_cells
from scmobench.types import PredictionData


@dataclass
class SVDLinear(Model):
    """Predict mod2 as (A W + b) Vᵀ: A the SVD scores of mod1, Vᵀ the components of mod2.

    The linear baseline of the competition (Luecken et al. 2021, NeurIPS Datasets and Benchmarks):
    ordinary least squares with intercept between 50 components a side, projected back. Deviation: the
    SVD of mod1 is learned from the training cells alone unless ``transductive``.
    """

    n_components: int = 50  # of either SVD, at most
    transductive: bool = False  # the SVD of mod1 also sees the test cells, as in the starter kit

    def fit(self, data: PredictionData, seed: int) -> "SVDLinear":
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
