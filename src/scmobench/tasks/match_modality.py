"""Modality matching: which cell of one modality is which cell of the other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.pairing import pairing
from scmobench.tasks.base import Task
from scmobench.types import MatchingData, Paired, part

VALUES_PER_CELL = 1000
ROW_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True)
class MatchModality(Task):
    """The competition's second task (NeurIPS 2021, ranked by match probability).

    Rows of mod2 are shuffled within train and within test, and renamed. The batch of every cell is known in
    both modalities.
    """

    name: str = "match_modality"
    axes: ClassVar[tuple[str, ...]] = ("rows (mod1 cells)", "columns (mod2 cells)")
    draw_seed: int = 0  # of the shuffles; part of the task, not of a method

    def cut(self, paired: Paired, subtask: str, mod1: AnnData, mod2: AnnData) -> tuple[MatchingData, AnnData]:
        """Training cells with their pairing for the model; the pairing of the test cells for the scorer."""
        train = np.flatnonzero(paired.obs["is_train"].to_numpy())
        test = np.flatnonzero(~paired.obs["is_train"].to_numpy())
        rng = np.random.default_rng(self.draw_seed)
        train_pairing, test_pairing = rng.permutation(len(train)), rng.permutation(len(test))
        labels = paired.obs.iloc[train][[c for c in ("cell_type",) if c in paired.obs]]
        data = MatchingData(
            dataset=paired.name,
            subtask=subtask,
            train_mod1=part(mod1, train),
            train_mod2=_shuffled(mod2, train[train_pairing], "train"),
            train_pairing=train_pairing,
            test_mod1=part(mod1, test),
            test_mod2=_shuffled(mod2, test[test_pairing], "test"),
            labels=labels,
        )
        n = len(test)
        truth = sp.csr_matrix((np.ones(n, np.float32), (test_pairing, np.arange(n))), shape=(n, n))
        known = [column for column in ("batch", "cell_type") if column in paired.obs]
        obs, var = paired.obs.iloc[test][known].copy(), data.test_mod2.obs[[]].copy()
        return data, AnnData(truth, obs=obs, var=var, uns={"pairing_ix": test_pairing})

    def values(self, answer: np.ndarray | sp.spmatrix) -> sp.csr_matrix:
        """Rows scaled to sum 1 (all-zero rows stay), float64."""
        matrix = sp.csr_matrix(answer, dtype=np.float64)
        total = np.asarray(matrix.sum(axis=1)).ravel()
        return (sp.diags(1 / np.where(total > 0, total, 1)) @ matrix).tocsr()

    def names(self, data: MatchingData) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Test cells of mod1 x test cells of mod2."""
        return data.test_mod1.obs[[]], data.test_mod2.obs[[]]

    def check_fit(self, prediction: AnnData, solution: AnnData) -> None:
        """n x n, non-negative, at most 1000 n stored values, rows sum to 1; not transposed nor reordered."""
        n = len(pairing(solution))
        if solution.n_vars != n:
            raise ValueError(f"expected a solution of {n} x {n} test cells, found {solution.shape}")
        super().check_fit(prediction, solution)
        matrix = sp.csr_matrix(prediction.X, dtype=np.float64, copy=True)  # its stored zeros stay
        matrix.eliminate_zeros()
        if matrix.nnz > VALUES_PER_CELL * n:
            raise ValueError(
                f"expected at most {VALUES_PER_CELL * n} values (1000 a cell), found {matrix.nnz}"
            )
        if matrix.nnz and matrix.data.min() < 0:
            raise ValueError(f"expected weights >= 0, the lowest found is {matrix.data.min():g}")
        total = np.asarray(matrix.sum(axis=1)).ravel()
        off = np.flatnonzero((np.abs(total - 1) > ROW_SUM_TOLERANCE) & (total != 0))
        if len(off):
            raise ValueError(
                f"expected every row to sum to 1, {len(off)} do not, row {off[0]} sums to {total[off[0]]:g}: "
                "divide each row by its sum, in float32 or float64"
            )


def _shuffled(modality: AnnData, cells: np.ndarray, prefix: str) -> AnnData:
    shuffled = part(modality, cells)
    shuffled.obs_names = [f"{prefix}_{k}" for k in range(shuffled.n_obs)]
    return shuffled
