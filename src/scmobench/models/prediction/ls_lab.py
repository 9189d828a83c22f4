"""Gradient boosting and two neural networks between two SVDs, averaged over folds (LS-lab)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, StratifiedKFold

from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.guanlab_krr import bounds, projected_rmse
from scmobench.models.prediction.regression import apply_network, fit_network
from scmobench.models.prediction.svd_linear import input_cells
from scmobench.nn.mlp import MLP
from scmobench.training.fit import FitReport, TrainerSettings, resumed, seeded
from scmobench.training.forecast import announce
from scmobench.types import PredictionData


@dataclass(frozen=True)
class Fold:
    """What one fold learned: the SVD of its training cells' mod2, trees for each component, networks."""

    svd: SVD
    trees: list[HistGradientBoostingRegressor]
    networks: list[MLP]
    fits: list[FitReport]

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Mean of the boosting and of the networks' mean: cells x components of mod2."""
        boosted = np.column_stack([tree.predict(scores) for tree in self.trees])
        if not self.networks:
            return boosted
        return (boosted + np.mean([apply_network(n, scores) for n in self.networks], axis=0)) / 2


class LSLab(Model):
    """Mean of gradient boosting and two networks between 50 SVD components a side, over cell folds.

    LS_lab, NeurIPS 2021 competition (Lance et al. 2022, PMLR 176; its public entry). Training cells are
    cut into folds stratified by batch; for each, models learn from the other folds, a network keeps its
    best epoch on the fold, and the means over folds are projected back. Deviations: scikit-learn's
    histogram boosting, one model a component, replaces two CatBoost ensembles on all components together;
    5 folds, not 10; the second network has neither skip connections nor a batch classifier; one recipe for
    all subtasks (published: forests and nearest neighbours for the ATAC ones, a forest beside the rest for
    ADT2GEX); the SVD of mod1 is made once, not for each fold; clipped to ≥ 0 (to the lowest
    training target, where that is less), binarised ATAC to ≤ 1. The validation score is the out-of-fold RMSE;
    a network's best epoch was chosen on the same cells.

    Parameters
    ----------
    n1, n2 : SVD components of mod1 (over training and test cells where ``transductive``) and mod2.
    folds : fewer where the training cells are.
    rounds, learning_rate, max_leaves, l2 : of the boosting: trees a component, shrinkage, leaves of a
        tree, penalty on leaf values.
    networks : hidden widths of each network.
    network_rate, batch_size, max_epochs : of their training (Adam).
    weight_decay : of all networks but the first, which has none, as published.
    transductive : the SVD of mod1 also sees the test cells.
    trainer : device, precision, logging.

    Raises
    ------
    ValueError : fewer than 2 folds.
    """

    def __init__(
        self,
        n1: int = 50,
        n2: int = 50,
        folds: int = 5,
        rounds: int = 100,
        learning_rate: float = 0.1,
        max_leaves: int = 15,
        l2: float = 3.0,
        networks: Sequence[Sequence[int]] = ((400, 400), (500, 500, 500, 500)),
        network_rate: float = 0.01,
        weight_decay: float = 1e-5,
        batch_size: int = 100,
        max_epochs: int = 25,
        transductive: bool = True,
        trainer: TrainerSettings | None = None,
    ) -> None:
        if folds < 2:
            raise ValueError(f"expected at least 2 folds, found {folds}")
        self.n1, self.n2, self.folds = n1, n2, folds
        self.boosting = {"max_iter": rounds, "learning_rate": learning_rate, "max_leaf_nodes": max_leaves}
        self.boosting |= {"l2_regularization": l2, "early_stopping": False}
        self.hidden = [list(widths) for widths in networks]
        self.training = {"learning_rate": network_rate, "batch_size": batch_size, "max_epochs": max_epochs}
        self.weight_decay = weight_decay
        self.transductive, self.trainer = transductive, trainer

    def fit(self, data: PredictionData, seed: int) -> LSLab:
        self.svd1 = SVD(self.n1, seed).fit(input_cells(data))
        scores = self.svd1.transform(data.train_mod1.X)
        self.bounds = bounds(data)
        batches = data.train_mod1.obs["batch"].astype(str).to_numpy()
        self.fitted: list[Fold] = []
        squared, size = 0.0, 0
        for number, (learned, kept) in enumerate(fold_cells(batches, self.folds, seed)):
            fold = self._fit_fold(number, scores, data.train_mod2.X, learned, kept, seed)
            truth = data.train_mod2.X[kept]
            error = projected_rmse(fold.predict(scores[kept]), fold.svd, truth, self.bounds)
            squared, size = squared + error**2 * len(kept), size + len(kept)
            self.fitted.append(fold)
        self.validation = float(np.sqrt(squared / size))
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        scores = self.svd1.transform(data.test_mod1.X)
        total = sum(fold.svd.inverse_transform(fold.predict(scores)) for fold in self.fitted)
        return np.clip(total / np.float32(len(self.fitted)), *self.bounds)

    def report(self) -> dict[str, Any]:
        networks = [network for fold in self.fitted for network in fold.networks]
        fits = [fit for fold in self.fitted for fit in fold.fits]
        notes = [f"{len(self.fitted)} folds; the trees of the boosting are not counted as parameters"]
        return {
            "validation": self.validation,
            "parameters": sum(p.numel() for network in networks for p in network.parameters()),
            "epochs": max((fit.epochs for fit in fits), default=0),
            "device": fits[0].device if fits else "cpu",
            "notes": "; ".join(filter(None, [*notes, resumed(fits)])),
        }

    def _fit_fold(
        self, number: int, scores: np.ndarray, X2: Any, learned: np.ndarray, kept: np.ndarray, seed: int
    ) -> Fold:
        svd = SVD(self.n2, seed)
        svd.fit(X2[learned])
        targets = svd.transform(X2)
        trees, begun = [], time.monotonic()
        for component in range(targets.shape[1]):
            boosting = HistGradientBoostingRegressor(random_state=seed, **self.boosting)
            trees.append(boosting.fit(scores[learned], targets[learned, component]))
            if number == component == 0:
                what = f"boosting of {targets.shape[1]} components in {self.folds} folds"
                whole = (time.monotonic() - begun) * targets.shape[1] * self.folds
                announce(whole, what, "fewer `rounds` or `folds` take less")
        networks, fits = [], []
        for place, hidden in enumerate(self.hidden):
            own_seed = seed * 1000 + number * len(self.hidden) + place
            with seeded(own_seed):
                network = MLP(scores.shape[1], targets.shape[1], hidden, activation="relu", norm_first=True)
            report = fit_network(
                network,
                scores,
                targets,
                fitted=learned,
                held_out=kept,
                seed=own_seed,
                weight_decay=self.weight_decay if place else 0.0,
                settings=self.trainer,
                part=f"fold{number}_network{place}",
                **self.training,
            )
            networks.append(network)
            fits.append(report)
        return Fold(svd, trees, networks, fits)


def fold_cells(batches: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and rows kept out, for each fold; every batch is spread over all folds.

    Raises
    ------
    ValueError : fewer than two cells.
    """
    if len(batches) < 2:
        raise ValueError(f"expected at least 2 training cells to cut into folds, found {len(batches)}")
    smallest = np.unique(batches, return_counts=True)[1].min()
    if smallest < folds:  # such batches cannot be spread over all folds
        return KFold(min(folds, len(batches)), shuffle=True, random_state=seed).split(batches)
    return StratifiedKFold(folds, shuffle=True, random_state=seed).split(batches, batches)
