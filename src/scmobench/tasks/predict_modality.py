"""Modality prediction: predict the second modality of the test cells from the first."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.tasks.base import Task
from scmobench.types import Paired, PredictionData, feature_type, part


@dataclass(frozen=True)
class PredictModality(Task):
    """The competition's first task (NeurIPS 2021, ranked by RMSE)."""

    name: str = "predict_modality"
    # peaks in an ATAC target, drawn from those with any training count, as in phase 2 of the competition
    # (its own files are cut already and stay as they are). None keeps all
    n_target_peaks: int | None = 10_000
    # test cells to draw, with probability proportional to sqrt(1 / frequency of the cell's type), as in
    # phase 2. None scores all test cells, which narrows the error bars
    n_test_cells: int | None = None
    draw_seed: int = 0  # of both draws; part of the task, not of a method

    def cut(
        self, paired: Paired, subtask: str, mod1: AnnData, mod2: AnnData
    ) -> tuple[PredictionData, AnnData]:
        """Training pairs and test inputs for the model; test targets for the scorer."""
        train = np.flatnonzero(paired.obs["is_train"].to_numpy())
        test = self._test_cells(paired)
        peaks = None
        if feature_type(mod2) == "ATAC" and self.n_target_peaks and not paired.protocol:
            peaks = self._peaks(mod2.X[train])
        data = PredictionData(
            dataset=paired.name,
            subtask=subtask,
            train_mod1=part(mod1, train),
            train_mod2=part(mod2, train, peaks),
            test_mod1=part(mod1, test),
            labels=paired.obs.iloc[train][[c for c in ("cell_type",) if c in paired.obs]],
        )
        return data, part(mod2, test, peaks)

    def names(self, data: PredictionData) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Test cells x mod2 features."""
        return data.test_mod1.obs[[]], data.train_mod2.var[[]]

    def _test_cells(self, paired: Paired) -> np.ndarray:
        test = np.flatnonzero(~paired.obs["is_train"].to_numpy())
        if not self.n_test_cells or self.n_test_cells >= len(test):
            return test
        if "cell_type" not in paired.obs:
            raise ValueError(
                "n_test_cells draws by cell type, and the dataset has no cell_type: leave it unset"
            )
        types = paired.obs["cell_type"].iloc[test].astype(str)
        weight = np.sqrt(1 / types.map(types.value_counts(normalize=True)).to_numpy())
        rng = np.random.default_rng(self.draw_seed)
        return np.sort(rng.choice(test, self.n_test_cells, replace=False, p=weight / weight.sum()))

    def _peaks(self, train_target: sp.csr_matrix) -> np.ndarray:
        open_peaks = np.flatnonzero(np.asarray(train_target.sum(axis=0)).ravel() > 0)
        if len(open_peaks) <= self.n_target_peaks:
            return open_peaks
        rng = np.random.default_rng(self.draw_seed)
        return np.sort(rng.choice(open_peaks, self.n_target_peaks, replace=False))
