"""Prediction by the mean of a cell's nearest training cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from scmobench.data.preprocess import as_csr
from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.svd_linear import input_cells
from scmobench.types import PredictionData


class KNN(Model):
    """Predict mod2 as the plain mean of the k training cells that are nearest in mod1's SVD space.

    The nearest-neighbour baseline of the competition (Luecken et al. 2021, NeurIPS Datasets and
    Benchmarks): Euclidean distance, equal weights.

    Parameters
    ----------
    n_components : of the SVD, at most.
    k : neighbours; all training cells where there are fewer.
    transductive : the SVD also sees the test cells' mod1, as in the competition's starter kit.
    """

    def __init__(self, n_components: int = 50, k: int = 20, transductive: bool = False) -> None:
        if k < 1:
            raise ValueError(f"expected at least 1 neighbour, found k={k}")
        self.n_components = n_components
        self.k = k
        self.transductive = transductive

    def fit(self, data: PredictionData, seed: int) -> KNN:
        self.svd = SVD(self.n_components, seed).fit(input_cells(data))
        self.neighbours = NearestNeighbors().fit(self.svd.transform(data.train_mod1.X))
        self.target = as_csr(data.train_mod2.X).copy()
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        k = min(self.k, self.target.shape[0])
        nearest = self.neighbours.kneighbors(self.svd.transform(data.test_mod1.X), k, return_distance=False)
        n = len(nearest)
        weights = np.full(nearest.size, 1 / k, dtype=np.float32)
        mean = sp.csr_matrix(
            (weights, nearest.ravel(), np.arange(0, n * k + 1, k)), (n, self.target.shape[0])
        )
        return (mean @ self.target).toarray()
