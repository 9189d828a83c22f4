"""Controls: the scores of an answer without knowledge (negative) and of the true answer (positive)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.preprocess import as_csr
from scmobench.models.base import Model, SolutionControl
from scmobench.models.matching.assignment import permutation, shared_batches
from scmobench.types import EmbeddingData, MatchingData, PredictionData, TaskData

MAX_DIMENSIONS = 100
MAX_PARTNERS = 1000


class _Untrained(Model):
    """A control that learns nothing but its seed."""

    def fit(self, data: TaskData, seed: int) -> Model:
        self.seed = seed
        return self


class ZeroPrediction(_Untrained):
    """Every feature of every cell is 0."""

    def predict(self, data: PredictionData) -> np.ndarray:
        return np.zeros((data.test_mod1.n_obs, data.train_mod2.n_vars), dtype=np.float32)


@dataclass
class ZeroEmbedding(_Untrained):
    """Every cell at one point."""

    n_dimensions: int = 10

    def predict(self, data: EmbeddingData) -> np.ndarray:
        return np.zeros((data.mod1.n_obs, self.n_dimensions), dtype=np.float32)


class MeanPrediction(Model):
    """Every cell has each feature's mean over the training cells."""

    def fit(self, data: PredictionData, seed: int) -> "MeanPrediction":
        mean = as_csr(data.train_mod2.X).mean(axis=0, dtype=np.float64)
        self.mean = np.asarray(mean, dtype=np.float32).reshape(1, -1)
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        return np.repeat(self.mean, data.test_mod1.n_obs, axis=0)


class RandomPrediction(_Untrained):
    """Each test cell has the mod2 profile of a training cell drawn at random."""

    def predict(self, data: PredictionData) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(data.train_mod2.n_obs, size=data.test_mod1.n_obs)
        return as_csr(data.train_mod2.X)[drawn].toarray()


class RandomMatching(_Untrained):
    """Each test cell is matched to one cell of its batch, at random and without repeats."""

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        rng = np.random.default_rng(self.seed)
        partner = np.empty(data.test_mod1.n_obs, dtype=np.int64)
        for rows, columns in shared_batches(data.test_mod1.obs["batch"], data.test_mod2.obs["batch"]):
            partner[rows] = rng.permutation(columns)
        return permutation(partner)


class ConstantMatching(_Untrained):
    """Each test cell is matched to all cells of its batch with one weight, at most to the first 1,000."""

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        n = data.test_mod1.n_obs
        pairs = []
        for rows, columns in shared_batches(data.test_mod1.obs["batch"], data.test_mod2.obs["batch"]):
            alike = columns[:MAX_PARTNERS]
            pairs.append((np.repeat(rows, len(alike)), np.tile(alike, len(rows))))
        row, column = np.concatenate(pairs, axis=1)
        return sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(n, n))


@dataclass
class RandomEmbedding(_Untrained):
    """Cells at standard normal coordinates."""

    n_dimensions: int = 10

    def predict(self, data: EmbeddingData) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return rng.standard_normal((data.mod1.n_obs, self.n_dimensions), dtype=np.float32)


class BatchEmbedding(_Untrained):
    """Each batch at one point, one-hot: nothing but the batch effect."""

    def predict(self, data: EmbeddingData) -> np.ndarray:
        return _one_hot(data.mod1.obs, "batch")


class SolutionPrediction(SolutionControl):
    """The test cells' mod2 itself."""

    def answer(self, solution: AnnData, seed: int) -> np.ndarray:
        return as_csr(solution.X).toarray()


class SolutionMatching(SolutionControl):
    """The true pairing itself."""

    def answer(self, solution: AnnData, seed: int) -> sp.csr_matrix:
        return sp.csr_matrix(solution.X, dtype=np.float32, copy=True)


@dataclass
class SemiSolutionMatching(SolutionControl):
    """Uniform random weights on the true pairs and on random other pairs.

    Every row holds the true pair, among ``others`` pairs with weights of the same kind, so the score is near
    1 / ``others``. Source: ``dummy_semisolution`` of the competition (Luecken et al. 2021; others = 10, match
    probability 0.100). Batches are ignored, and a true pair that is drawn again gets a new weight, as there.
    """

    others: int = 10  # random pairs for each cell, on average; at most all pairs

    def answer(self, solution: AnnData, seed: int) -> sp.csr_matrix:
        rng = np.random.default_rng(seed)
        truth = sp.coo_matrix(solution.X)
        n = truth.shape[0]
        drawn = rng.choice(n * n, size=min(self.others, n) * n, replace=False)
        pairs = np.union1d(truth.row.astype(np.int64) * n + truth.col, drawn)
        weights = rng.random(len(pairs), dtype=np.float32)
        return sp.csr_matrix((weights, np.divmod(pairs, n)), shape=(n, n))


class CellTypeEmbedding(SolutionControl):
    """Each cell type at one point, one-hot."""

    def answer(self, solution: AnnData, seed: int) -> np.ndarray:
        return _one_hot(solution.obs, "cell_type")


class SolutionEmbedding(SolutionControl):
    """Cell type one-hot, beside each reference pseudotime that the dataset has.

    No perfect embedding is published, so this is a construction: cell types apart, no batch
    effect, and order along the trajectory within a type. A pseudotime is scaled to lie in [0, 1], below
    the distance √2 between two types; cells outside of the trajectory are at its mean. The cell cycle plays
    no part. Without a pseudotime it equals `CellTypeEmbedding`.
    """

    def answer(self, solution: AnnData, seed: int) -> np.ndarray:
        columns = [_one_hot(solution.obs, "cell_type")]
        for name in sorted(c for c in solution.obs if c.startswith("pseudotime_order_")):
            order = solution.obs[name].to_numpy(dtype=np.float64)
            known = np.isfinite(order)
            if known.any():
                span = np.ptp(order[known])
                scaled = (order - order[known].min()) / (span if span > 0 else 1)
                columns.append(np.where(known, scaled, scaled[known].mean())[:, None].astype(np.float32))
        return np.hstack(columns)[:, :MAX_DIMENSIONS]


def _one_hot(obs: pd.DataFrame, column: str) -> np.ndarray:
    """Cells x categories, float32. At most `MAX_DIMENSIONS` categories."""
    if column not in obs:
        raise ValueError(f"this control needs {column!r} of every cell, found columns {list(obs)}")
    found = pd.get_dummies(obs[column].astype(str), dtype=np.float32).to_numpy()
    if found.shape[1] > MAX_DIMENSIONS:
        raise ValueError(f"expected at most {MAX_DIMENSIONS} values of {column!r}, found {found.shape[1]}")
    return found
