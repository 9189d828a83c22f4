"""Modality matching: which cell of one modality is which cell of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.pairing import pairing
from scmobench.tasks.base import Task, normalized
from scmobench.tasks.names import check_order, is_transposed
from scmobench.types import MatchingData, Paired, Problem

VALUES_PER_CELL = 1000
ROW_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True)
class MatchModality(Task):
    """The competition's second task (NeurIPS 2021, ranked by match probability).

    Rows of mod2 are shuffled within train and within test, and renamed. The batch of every cell is known in
    both modalities.

    Attributes
    ----------
    draw_seed : seed of the shuffles; part of the task, not of a method.
    """

    name: str = "match_modality"
    draw_seed: int = 0

    def split(self, paired: Paired, direction: str = "from_gex") -> Problem:
        """Training cells with their pairing for the model; the pairing of the test cells for the scorer."""
        subtask = self.subtask(paired, direction)
        mod1, mod2, names = normalized(paired, swap=direction == "to_gex")
        train = np.flatnonzero(paired.obs["is_train"].to_numpy())
        test = np.flatnonzero(~paired.obs["is_train"].to_numpy())
        rng = np.random.default_rng(self.draw_seed)
        train_pairing, test_pairing = rng.permutation(len(train)), rng.permutation(len(test))
        labels = paired.obs.iloc[train][[c for c in ("cell_type",) if c in paired.obs]]
        data = MatchingData(
            dataset=paired.name,
            subtask=subtask,
            train_mod1=mod1[train].copy(),
            train_mod2=_shuffled(mod2[train], train_pairing, "train"),
            train_pairing=train_pairing,
            test_mod1=mod1[test].copy(),
            test_mod2=_shuffled(mod2[test], test_pairing, "test"),
            labels=labels,
        )
        n = len(test)
        truth = sp.csr_matrix((np.ones(n, np.float32), (test_pairing, np.arange(n))), shape=(n, n))
        known = [column for column in ("batch", "cell_type") if column in paired.obs]
        names_of = {"obs": paired.obs.iloc[test][known].copy(), "var": data.test_mod2.obs[[]].copy()}
        solution = AnnData(X=truth, **names_of)
        solution.uns |= {"dataset_id": paired.name, "protocol": paired.protocol, "subtask": subtask}
        solution.uns["pairing_ix"] = test_pairing
        return Problem(data, solution, names)

    def layout(self, answer: np.ndarray | sp.spmatrix, data: MatchingData) -> AnnData:
        """Test cells of mod1 x test cells of mod2, rows scaled to sum 1 (all-zero rows stay)."""
        expected = (data.test_mod1.n_obs, data.test_mod2.n_obs)
        if answer.shape != expected:
            raise ValueError(
                f"expected a matching of shape {expected} (mod1, mod2 cells), found {answer.shape}"
            )
        matrix = sp.csr_matrix(answer, dtype=np.float64)
        total = np.asarray(matrix.sum(axis=1)).ravel()
        matrix = sp.diags(1 / np.where(total > 0, total, 1)) @ matrix
        names = {"obs": data.test_mod1.obs[[]].copy(), "var": data.test_mod2.obs[[]].copy()}
        return AnnData(X=matrix.tocsr(), **names)

    def check_fit(self, prediction: AnnData, solution: AnnData) -> None:
        """n x n, non-negative, at most 1000 n stored values, rows sum to 1; not transposed nor reordered."""
        n = len(pairing(solution))
        if solution.n_vars != n:
            raise ValueError(f"expected a solution of {n} x {n} test cells, found {solution.shape}")
        if prediction.shape != (n, n):
            raise ValueError(
                f"expected {n} x {n} (mod1 cells, shuffled mod2 cells), found {prediction.shape}"
            )
        if is_transposed(prediction, solution):
            raise ValueError(
                "the prediction is transposed: rows must be mod1 cells, columns mod2 cells; save prediction.T"
            )
        check_order("rows (mod1 cells)", prediction.obs_names, solution.obs_names, "obs")
        check_order("columns (mod2 cells)", prediction.var_names, solution.var_names, "var")
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
                f"expected every row to sum to 1, {len(off)} do not: row {off[0]} sums to {total[off[0]]:g}"
            )


def _shuffled(cells: AnnData, pairing: np.ndarray, prefix: str) -> AnnData:
    shuffled = cells[pairing].copy()
    shuffled.obs_names = [f"{prefix}_{k}" for k in range(shuffled.n_obs)]
    return shuffled
