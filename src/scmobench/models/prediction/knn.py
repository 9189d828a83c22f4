"""Prediction by the mean of a cell's nearest training cells."""

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from scmobench.data.preprocess import as_csr
from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.projection import input_cells
from scmobench.types import PredictionData


@dataclass
class KNN(Model):
    """Predict mod2 as the plain mean of the k training cells that are nearest in mod1's SVD space.

    The nearest-neighbour baseline of the competition (Luecken et al. 2021, NeurIPS Datasets and
    Benchmarks): Euclidean distance, equal weights.
    """

    n_components: int = 50  # of the SVD, at most
    k: int = 20  # neighbours; at most all training cells
    transductive: bool = False  # the SVD also sees the test cells' mod1, as in the competition's starter kit

    def fit(self, data: PredictionData, seed: int) -> "KNN":
        self.svd = SVD(self.n_components, seed).fit(input_cells(data))
        self.neighbours = NearestNeighbors().fit(self.svd.transform(data.train_mod1.X))
        self.target = as_csr(data.train_mod2.X).copy()
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        k = min(self.k, self.target.shape[0])
        nearest = self.neighbours.kneighbors_graph(self.svd.transform(data.test_mod1.X), k)
        nearest.data = np.full(nearest.nnz, 1 / k, dtype=np.float32)
        return (nearest @ self.target).toarray()
