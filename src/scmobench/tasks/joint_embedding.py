"""Joint embedding: one space of at most 100 dimensions for both modalities of all cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.tasks.base import Task, finite, normalized, same_cells
from scmobench.types import EmbeddingData, Paired, Problem

MAX_DIMENSIONS = 100
LARGEST = 1e15
LABELS = ("cell_type", "S_score", "G2M_score")
REFERENCES = ("batch", *LABELS, "phase", "is_scored")


@dataclass(frozen=True)
class JointEmbedding(Task):
    """The competition's third task (NeurIPS 2021, ranked by the mean of six scIB metrics)."""

    name: str = "joint_embedding"
    directed: ClassVar[bool] = False

    def split(self, paired: Paired, direction: str = "from_gex") -> Problem:
        """All cells for the model, with labels of training cells apart; GEX and all labels for the scorer."""
        subtask = self.subtask(paired, direction)
        mod1, mod2, names = normalized(paired)
        train = paired.obs["is_train"]
        for modality in (mod1, mod2):
            modality.obs["is_train"] = train.to_numpy()
        known = [column for column in LABELS if column in paired.obs]
        data = EmbeddingData(
            dataset=paired.name,
            subtask=subtask,
            mod1=mod1.copy(),
            mod2=mod2.copy(),
            labels=paired.obs.loc[train, known].copy(),
        )
        references = [c for c in paired.obs if c in REFERENCES or c.startswith("pseudotime_order_")]
        solution = AnnData(
            X=mod1.X, obs=paired.obs[references].copy(), var=mod1.var[["feature_types"]].copy()
        )
        solution.uns |= {
            "dataset_id": paired.name,
            "protocol": paired.protocol,
            "subtask": subtask,
            "organism": paired.organism,
        }
        return Problem(data, solution, names)

    def pack(self, answer: np.ndarray | sp.spmatrix, data: EmbeddingData, method: str) -> AnnData:
        """All cells x dimensions."""
        dense = answer.toarray() if sp.issparse(answer) else np.asarray(answer)
        if dense.ndim != 2 or dense.shape[0] != data.mod1.n_obs:
            raise ValueError(
                f"expected {data.mod1.n_obs} rows (all cells), found an array of shape {dense.shape}"
            )
        prediction = AnnData(
            X=dense.astype(np.float32),
            obs=data.mod1.obs[[]].copy(),
            var=pd.DataFrame(index=[f"dim_{i}" for i in range(dense.shape[1])]),
        )
        prediction.uns |= {"dataset_id": data.dataset, "subtask": data.subtask, "method_id": method}
        return prediction

    def check(self, prediction: AnnData, solution: AnnData) -> None:
        """The solution's cells in its order, 1 to 100 dimensions, real numbers whose squares are finite."""
        if prediction.n_obs != solution.n_obs and prediction.n_vars == solution.n_obs:
            raise ValueError(
                f"the embedding is transposed: expected {solution.n_obs} rows (cells), "
                f"found {prediction.shape}; save embedding.T"
            )
        same_cells(prediction, solution)
        if not 1 <= prediction.n_vars <= MAX_DIMENSIONS:
            raise ValueError(f"expected 1 to {MAX_DIMENSIONS} dimensions, found {prediction.n_vars}")
        finite(prediction)
        values = prediction.X.dtype
        if values.kind not in "fiu":
            raise ValueError(
                f"expected an embedding of real numbers, found {values}: save X.astype(np.float32)"
            )
        if (largest := abs(prediction.X).max()) > LARGEST:
            raise ValueError(
                f"expected values up to {LARGEST:g} (distances are of their squares), found {largest:g}: "
                "scale the embedding"
            )
