"""Gradient boosting and two neural networks between two SVDs, averaged over folds (LS-lab)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.models.prediction.boosting import Boosting
from scmobench.models.prediction.networks import Training, apply_network, fit_network
from scmobench.models.prediction.projection import bounds, input_cells, projected_rmse
from scmobench.nn.mlp import MLP
from scmobench.training.fit import FitReport, TrainerSettings, averaged_report
from scmobench.training.forecast import announce
from scmobench.training.surroundings import seeded
from scmobench.types import PredictionData


@dataclass
class Fold:
    """The fitted parts of a fold: the SVD of its training cells' mod2, boosting, networks."""

    svd: SVD
    boosting: Boosting
    networks: list[MLP] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Mean of the boosting and of the networks' mean: cells x components of mod2."""
        boosted = self.boosting.predict(scores)
        if not self.networks:
            return boosted
        return (boosted + np.mean([apply_network(n, scores) for n in self.networks], axis=0)) / 2


@dataclass(kw_only=True)
class LSLab(Model):
    """Mean of gradient boosting and two networks between 50 SVD components a side, over cell folds.

    LS_lab, NeurIPS 2021 competition (Lance et al. 2022, PMLR 176; its public entry). Training cells are
    cut into folds stratified by batch; for each, models learn from the other folds, a network keeps its
    best epoch on the fold, and the means over folds are projected back. Deviations:

    - One `Boosting` of all components, with splits on projections of them, replaces two CatBoost ensembles of
      all components.
    - There are 5 folds, not 10, and the SVD of mod1 is made once, not for each fold.
    - The second network has neither skip connections nor a batch classifier.
    - All subtasks have one recipe (published: forests and nearest neighbours for ATAC, and one more forest
      for ADT2GEX).
    - Predictions are clipped to at least 0 (or to the lowest training target, if that is less), and binarised
      ATAC to at most 1.

    The validation score is the out-of-fold RMSE. The best epoch of a network was chosen on the same cells.
    """

    n1: int = 50  # SVD components of mod1
    n2: int = 50  # of mod2
    folds: int = 5  # at most the number of training cells
    rounds: int = 100  # trees
    learning_rate: float = 0.1  # shrinkage of the boosting
    max_leaves: int = 15  # of a tree
    l2: float = 3.0  # penalty on leaf values
    networks: Sequence[Sequence[int]] = ((400, 400), (500, 500, 500, 500))  # hidden widths of each
    network_rate: float = 0.01
    weight_decay: float = 1e-5  # of all networks but the first, which has none, as published
    batch_size: int = 100
    max_epochs: int = 25
    transductive: bool = True  # the SVD of mod1 also sees the test cells
    trainer: TrainerSettings | None = None

    def fit(self, data: PredictionData, seed: int) -> "LSLab":
        self.svd1 = SVD(self.n1, seed).fit(input_cells(data))
        scores = self.svd1.transform(data.train_mod1.X)
        self.bounds = bounds(data)
        batches = data.train_mod1.obs["batch"].astype(str).to_numpy()
        self.fitted: list[Fold] = []
        squared = 0.0
        for learned, kept in fold_cells(batches, self.folds, seed):
            fold = self._fit_fold(scores, data.train_mod2.X, learned, kept, seed)
            truth = data.train_mod2.X[kept]
            error = projected_rmse(fold.predict(scores[kept]), fold.svd, truth, self.bounds)
            squared += error**2 * len(kept)
            self.fitted.append(fold)
        self.validation = float(np.sqrt(squared / len(batches)))
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        scores = self.svd1.transform(data.test_mod1.X)
        total = sum(fold.svd.inverse_transform(fold.predict(scores)) for fold in self.fitted)
        return np.clip(total / np.float32(len(self.fitted)), *self.bounds)

    def report(self) -> dict[str, Any]:
        networks = [network for fold in self.fitted for network in fold.networks]
        fits = [fit for fold in self.fitted for fit in fold.fits]
        note = f"{len(self.fitted)} folds; the trees of the boosting are not counted as parameters"
        return averaged_report(networks, fits, self.validation, [note])

    def _fit_fold(
        self, scores: np.ndarray, X2: Any, learned: np.ndarray, kept: np.ndarray, seed: int
    ) -> Fold:
        number = len(self.fitted)
        svd = SVD(self.n2, seed)
        svd.fit(X2[learned])
        targets = svd.transform(X2)
        fold = Fold(svd, self._boosted(scores[learned], targets[learned], seed))
        for place, hidden in enumerate(self.networks):
            own_seed = seed * 1000 + number * len(self.networks) + place
            settings = Training(
                learning_rate=self.network_rate,
                weight_decay=self.weight_decay if place else 0.0,
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                trainer=self.trainer,
            )
            with seeded(own_seed):
                network = MLP(scores.shape[1], targets.shape[1], hidden, activation="relu", norm_first=True)
            part = f"fold{number}_network{place}"
            report = fit_network(network, scores, targets, settings, held_out=kept, seed=own_seed, part=part)
            fold.networks.append(network)
            fold.fits.append(report)
        return fold

    def _boosted(self, scores: np.ndarray, targets: np.ndarray, seed: int) -> Boosting:
        """Boosting of all components of mod2. The first tree is timed and announces the total."""

        def timed(seconds: float) -> None:
            if not self.fitted:
                what = f"boosting in {self.folds} folds"
                announce(seconds * self.rounds * self.folds, what, "fewer `rounds` or `folds` take less")

        boosting = Boosting(self.rounds, self.learning_rate, self.max_leaves, self.l2)
        return boosting.fit(scores, targets, seed, timed)


def fold_cells(batches: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and rows left out, for each fold. Every batch is spread over all folds."""
    if len(batches) < 2:
        raise ValueError(f"expected at least 2 training cells to cut into folds, found {len(batches)}")
    smallest = np.unique(batches, return_counts=True)[1].min()
    if smallest < folds:  # such batches cannot be spread over all folds
        return KFold(min(folds, len(batches)), shuffle=True, random_state=seed).split(batches)
    return StratifiedKFold(folds, shuffle=True, random_state=seed).split(batches, batches)
