"""Kernel ridge regression between two SVDs, averaged over halves of the batches (Guanlab-dengkw)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scmobench.data.preprocess import as_csr, zscore_rows
from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.kernel_ridge import KernelRidge, fit_ridge
from scmobench.models.prediction.projection import bounds, input_cells, projected_rmse
from scmobench.types import PredictionData

RAW_LIMIT_GB = 4.0


@dataclass(kw_only=True)
class GuanlabKRR(Model):
    """Kernel ridge regression from z-scored SVD scores, averaged over random halves of the batches.

    Guanlab-dengkw, winner of GEX2ADT in the NeurIPS 2021 competition (Lance et al. 2022, PMLR 176).
    The training batches are shuffled and cut in two ``repeats`` times, and each half trains a model. With a
    single training batch every model sees all cells. The mean of all models is projected back to features
    and clipped to ≥ 0, binarised ATAC also to ≤ 1.
    Deviations:

    - The mean of the models is clipped (with ``legacy`` their sum, as published). The lower bound is the
      lowest training target if that is below 0.
    - A model of more than ``exact_up_to`` cells uses Nyström landmarks instead of the kernel of all pairs
      (45 GB at 66,000 cells).

    The validation score compares each training cell with the mean of the models that were fitted without
    this cell. The two SVDs have seen it. With a single training batch the score comes from further models,
    on halves of the cells.

    Raises ValueError for features as inputs that would not fit into memory.
    """

    n1: int | None = 300  # SVD components of mod1; None: its features
    n2: int = 70  # SVD components of mod2
    alpha: float = 0.2  # ridge penalty
    length_scale: float = 10.0  # of the RBF kernel
    repeats: int = 5  # halvings
    # clip the sum of the models and then divide it by their number, as the published entry did: no ATAC
    # prediction exceeds 1 / (2 · repeats)
    legacy: bool = False
    exact_up_to: int = 10_000  # cells of a model; the exact kernel takes 8 n² bytes
    landmarks: int = 3000  # cells drawn for a larger model; 24 m² bytes
    transductive: bool = True  # the SVD of mod1 also sees the test cells

    def fit(self, data: PredictionData, seed: int) -> "GuanlabKRR":
        rng = np.random.default_rng(seed)
        self.notes: list[str] = []
        self.bounds = bounds(data)
        check_raw_size(data, self.n1)
        self.svd1 = None if self.n1 is None else SVD(self.n1, seed).fit(input_cells(data))
        self.cells = self._inputs(data.train_mod1.X)
        self.svd2 = SVD(self.n2, seed)
        self.targets = self.svd2.fit_transform(data.train_mod2.X).astype(np.float64)
        held_out = self._fit_halves(data.train_mod1.obs["batch"].astype(str).to_numpy(), rng)
        self.validation = projected_rmse(held_out, self.svd2, data.train_mod2.X, self.bounds)
        del self.targets
        return self

    def _fit_halves(self, batches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Fit the models; each cell's mean over the models that did not see it, cells x components."""
        everything = np.arange(len(batches)) if len(np.unique(batches)) < 2 else None
        if everything is not None:
            self.notes.append("one training batch: every model sees all cells, halves of them validate")
        self.models: list[KernelRidge] = []
        held_out = np.zeros_like(self.targets)
        exact: dict[bytes, KernelRidge] = {}  # few batches have few halvings: none is fitted twice
        for _ in range(self.repeats):
            first, second = halves(batches, rng)
            for members, others in ((first, second), (second, first)):
                model = self._fitted(members, exact, rng)
                held_out[others] += model.predict(self.cells, self.cells[others])
                self.models.append(model if everything is None else self._fitted(everything, exact, rng))
        return held_out / self.repeats

    def _fitted(
        self, members: np.ndarray, exact: dict[bytes, KernelRidge], rng: np.random.Generator
    ) -> KernelRidge:
        """A model on the cells ``members``. Exact ones are kept and used again."""
        landmarks = None
        if len(members) > self.exact_up_to:
            landmarks = np.sort(rng.choice(members, min(self.landmarks, len(members)), replace=False))
            note = f"models of more than {self.exact_up_to} cells: {self.landmarks} Nyström landmarks"
            self.notes += [] if note in self.notes else [note]
        elif known := exact.get(members.tobytes()):
            return known
        settings = {"length_scale": self.length_scale, "alpha": self.alpha, "landmarks": landmarks}
        model = fit_ridge(self.cells, self.targets, members, **settings)
        if landmarks is None:
            exact[members.tobytes()] = model
        return model

    def predict(self, data: PredictionData) -> np.ndarray:
        cells = self._inputs(data.test_mod1.X)
        total = sum(model.predict(self.cells, cells) for model in self.models)
        n = len(self.models)
        if self.legacy:
            return np.clip(self.svd2.inverse_transform(total), *self.bounds) / np.float32(n)
        return np.clip(self.svd2.inverse_transform(total / n), *self.bounds)

    def report(self) -> dict[str, Any]:
        parameters = sum(model.weights.size for model in self.models)
        return {"validation": self.validation, "parameters": parameters, "notes": "; ".join(self.notes)}

    def _inputs(self, X: sp.csr_matrix) -> np.ndarray:
        return zscore_rows(as_csr(X).toarray() if self.svd1 is None else self.svd1.transform(X))


def halves(batches: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the cells of a random half of the batches and of the rest; halves of a single batch's cells."""
    names = np.unique(batches)
    if len(batches) < 2:
        raise ValueError(f"expected at least 2 training cells to halve, found {len(batches)}")
    if len(names) < 2:
        order = rng.permutation(len(batches))
        chosen = np.isin(np.arange(len(batches)), order[: len(order) // 2])
    else:
        chosen = np.isin(batches, rng.permutation(names)[: len(names) // 2])
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def check_raw_size(data: PredictionData, n1: int | None) -> None:
    """Raise ValueError if features are the inputs and would take more than `RAW_LIMIT_GB`."""
    size = data.train_mod1.n_obs * data.train_mod1.n_vars * 4 / 1e9
    if n1 is None and size > RAW_LIMIT_GB:
        raise ValueError(
            f"features as inputs (n1=null) would take {size:.1f} GB for {data.train_mod1.n_obs} cells x "
            f"{data.train_mod1.n_vars} features, expected at most {RAW_LIMIT_GB:g}; set n1, e.g. n1=300"
        )
