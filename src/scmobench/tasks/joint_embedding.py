"""Joint embedding: one space of at most 100 dimensions for both modalities of all cells."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.matrix import checked_matrix
from scmobench.data.pairing import unnamed
from scmobench.tasks.base import Task
from scmobench.types import EmbeddingData, Paired

MAX_DIMENSIONS = 100
EMBEDDING = "X_emb"
LABELS = ("cell_type", "S_score", "G2M_score")
REFERENCES = ("batch", *LABELS, "phase", "is_scored")


@dataclass(frozen=True)
class JointEmbedding(Task):
    """The competition's third task (NeurIPS 2021, ranked by the mean of six scIB metrics)."""

    name: str = "joint_embedding"
    directed: ClassVar[bool] = False
    axes: ClassVar[tuple[str, ...]] = ("rows (cells)",)

    def cut(
        self, paired: Paired, subtask: str, mod1: AnnData, mod2: AnnData
    ) -> tuple[EmbeddingData, AnnData]:
        """All cells for the model, with labels of training cells apart; GEX and all labels for the scorer."""
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
        obs, var = paired.obs[references].copy(), mod1.var[["feature_types"]].copy()
        return data, AnnData(X=mod1.X, obs=obs, var=var, uns={"organism": paired.organism})

    def values(self, answer: np.ndarray | sp.spmatrix) -> np.ndarray:
        """Dense, float32."""
        return np.asarray(answer.toarray() if sp.issparse(answer) else answer).astype(np.float32)

    def names(self, data: EmbeddingData) -> tuple[pd.DataFrame, None]:
        """All cells x dimensions."""
        return data.mod1.obs[[]], None

    def answer(self, prediction: AnnData, solution: AnnData) -> AnnData:
        """The embedding as X. If X is no embedding, ``obsm["X_emb"]`` is, where scanpy and scib keep it.

        X is no embedding if it is missing or empty, has over 100 columns, is the solution's expression, or if
        its columns have ``feature_types``.
        Where obsm and X hold different numbers, a line on stderr states which of them are scored.
        """
        kept = prediction.obsm.get(EMBEDDING)
        if kept is None:
            return prediction
        kept = kept if sp.issparse(kept) else np.asarray(kept).reshape(prediction.n_obs, -1)
        place, dimensions = f'obsm["{EMBEDDING}"] of the prediction', f"({kept.shape[1]} dimensions)"
        if reason := _no_embedding(prediction, solution):
            print(f"{place} is scored {dimensions}: X {reason}", file=sys.stderr, flush=True)
            return AnnData(kept, obs=prediction.obs[[]])
        if not _equal(kept, prediction.X):
            told = f"X is scored ({prediction.n_vars} dimensions), {place} holds other numbers {dimensions}"
            print(f"{told}: to score these, save them as X", file=sys.stderr, flush=True)
        return prediction

    def check_fit(self, prediction: AnnData, solution: AnnData) -> None:
        """The solution's cells in the solution's order, 1 to 100 dimensions."""
        super().check_fit(prediction, solution)
        if not 1 <= prediction.n_vars <= MAX_DIMENSIONS:
            raise ValueError(
                f"expected 1 to {MAX_DIMENSIONS} dimensions, found {prediction.n_vars} in X: save the "
                f'embedding as X, or beside X as obsm["{EMBEDDING}"]'
            )


def _no_embedding(prediction: AnnData, solution: AnnData) -> str:
    """Why X cannot be the embedding, in words; empty where it may be."""
    if prediction.X is None or not prediction.n_vars:
        return "is empty"
    if prediction.n_vars > MAX_DIMENSIONS:
        return f"has {prediction.n_vars} columns, more than {MAX_DIMENSIONS}"
    if "feature_types" in prediction.var:
        return 'holds features, as its var["feature_types"] says'
    genes = not unnamed(solution.var_names) and prediction.var_names.equals(solution.var_names)
    return "is the expression of the solution's genes" if genes or _equal(prediction.X, solution.X) else ""


def _equal(one: np.ndarray | sp.spmatrix, other: np.ndarray | sp.spmatrix) -> bool:
    """Whether two sparse or dense matrices hold the same real numbers."""
    if one.shape != other.shape or one.dtype.kind not in "biuf" or other.dtype.kind not in "biuf":
        return False
    sound = (checked_matrix(matrix, "X and obsm of the prediction") for matrix in (one, other))
    return np.allclose(*(m.toarray() if sp.issparse(m) else m for m in sound), equal_nan=True)
