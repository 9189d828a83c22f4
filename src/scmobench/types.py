"""The types of every layer: paired cells, the three problems, and a score that may not apply.

A task cuts `Paired` cells into a `Problem`: the `data` that a model sees, and the `solution` that only the
scorer sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

MODALITIES = ("GEX", "ADT", "ATAC")
TASKS = ("predict_modality", "match_modality", "joint_embedding")
PROTOCOL = "neurips2021-phase2"  # protocol of the competition's own test sets
COUNTED = "0 is counted for it, as in the competition"
"""End of the reason of a score that counts a 0 for a part without a value."""
SUBTASKS = ("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX", "GEX-ADT", "GEX-ATAC")


class NotApplicable(Exception):  # noqa: N818  (a state of a score, not an error)
    """Raised by a metric that is not defined for the data; the message says why."""


@dataclass(frozen=True)
class Score:
    """One metric of one prediction: a value, or the reason for having none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Paired:
    """Two modalities measured in the same cells, in the same order.

    Attributes
    ----------
    name : of the data set, e.g. ``pbmc10x_cite``.
    mod1, mod2 : cells x features; ``mod1`` is GEX. X is CSR float32, raw counts or as `normalization` says;
        raw counts, where known, are also in ``layers["counts"]``. ``var["feature_types"]`` is one of
        `MODALITIES`.
    obs : one row a cell. Columns: ``batch``, ``is_train``, ``is_scored`` (cells whose labels are good enough
        to score embeddings); where known ``cell_type``, ``phase``, ``S_score``, ``G2M_score``,
        ``pseudotime_order_GEX``, ``pseudotime_order_ADT`` or ``_ATAC``.
    normalization : modality -> name of the values in X; ``counts`` for raw counts.
    source : where the cells come from, in words.
    organism : ``human`` or ``mouse`` (cell-cycle genes), or empty where unknown.
    protocol : ``neurips2021-phase2`` for the competition's own files, else empty. Published figures are
        compared only with results of the same protocol.
    hash : sha256 of the cells, features, values and split, by `scmobench.data.check`.
    """

    name: str
    mod1: AnnData
    mod2: AnnData
    obs: pd.DataFrame
    normalization: Mapping[str, str]
    source: str = ""
    organism: str = ""
    protocol: str = ""
    hash: str = ""

    def __repr__(self) -> str:
        widths = f"{self.mod1.n_vars:,} and {self.mod2.n_vars:,} features"
        return f"Paired {self.name}: {len(self.obs):,} cells with {widths}"

    @property
    def pair(self) -> tuple[str, str]:
        """Modalities of mod1 and mod2, e.g. ``("GEX", "ADT")``."""
        return feature_type(self.mod1), feature_type(self.mod2)


def feature_type(modality: AnnData) -> str:
    """The one value of ``var["feature_types"]``."""
    return str(modality.var["feature_types"].iloc[0])


def part(modality: AnnData, cells: np.ndarray | None = None, features: np.ndarray | None = None) -> AnnData:
    """A copy of some cells and features (None: all): X, layers, obs and var.

    Unlike anndata's own ``modality[cells].copy()`` it copies each matrix once and leaves nothing behind. The
    view between the two keeps the whole modality in memory until Python looks for cycles.
    """

    def rows(table: pd.DataFrame, kept: np.ndarray | None) -> pd.DataFrame:
        table = table.copy() if kept is None else table.iloc[kept].copy()
        for column in table.select_dtypes("category"):
            table[column] = table[column].cat.remove_unused_categories()
        return table

    def entries(matrix: np.ndarray | sp.spmatrix) -> np.ndarray | sp.spmatrix:
        if cells is None and features is None:
            return matrix.copy()
        matrix = matrix if cells is None else matrix[cells]
        return matrix if features is None else matrix[:, features]

    obs, var = rows(modality.obs, cells), rows(modality.var, features)
    layers = {name: entries(modality.layers[name]) for name in modality.layers}
    return AnnData(entries(modality.X), obs=obs, var=var, layers=layers)


@dataclass(frozen=True)
class TaskData:
    """What a model sees of a task.

    Attributes
    ----------
    dataset, subtask : names, e.g. ``pbmc10x_cite`` and ``GEX2ADT``.
    labels : cell_type (S_score and G2M_score for an embedding) of the training cells, where known.
    """

    dataset: str
    subtask: str
    labels: pd.DataFrame | None = field(default=None, kw_only=True)

    def for_fit(self, transductive: bool, label_supervised: bool) -> Self:
        """What `Model.fit` receives: test inputs and training labels only where the model declares them."""
        seen = self if transductive else self.without_test_cells()
        return seen if label_supervised else replace(seen, labels=None)


@dataclass(frozen=True)
class PredictionData(TaskData):
    """Modality prediction: predict mod2 of the test cells from their mod1.

    ``train_mod1`` and ``train_mod2`` hold the same cells in the same order. X is normalised,
    ``layers["counts"]`` raw where known, ``obs["batch"]`` the batch.
    """

    train_mod1: AnnData
    train_mod2: AnnData
    test_mod1: AnnData | None

    def without_test_cells(self) -> Self:
        """The same without test inputs."""
        return replace(self, test_mod1=None)


@dataclass(frozen=True)
class MatchingData(TaskData):
    """Modality matching: find the row of test_mod2 for each row of test_mod1.

    Rows of both mod2 are shuffled within train and test; row k of ``train_mod2`` is the cell of
    row ``train_pairing[k]`` of ``train_mod1``. Names of mod2 rows tell nothing.
    """

    train_mod1: AnnData
    train_mod2: AnnData
    train_pairing: np.ndarray
    test_mod1: AnnData | None
    test_mod2: AnnData | None

    @property
    def train_mod2_paired(self) -> AnnData:
        """``train_mod2`` with its rows in the order of ``train_mod1``."""
        return part(self.train_mod2, np.argsort(self.train_pairing))

    def without_test_cells(self) -> Self:
        """The same without test inputs."""
        return replace(self, test_mod1=None, test_mod2=None)


@dataclass(frozen=True)
class EmbeddingData(TaskData):
    """Joint embedding: place all cells of both modalities in one space.

    ``obs["is_train"]`` marks the training cells.
    """

    mod1: AnnData
    mod2: AnnData

    def without_test_cells(self) -> Self:
        """The training cells alone."""
        keep = self.mod1.obs["is_train"].to_numpy()
        return replace(self, mod1=part(self.mod1, keep), mod2=part(self.mod2, keep))


@dataclass(frozen=True)
class Problem:
    """A task on a data set: `data` for the model, `solution` for the scorer alone.

    ``solution`` has the competition's layout: the test cells' mod2 (prediction), an n x n 0/1 matrix with
    ``uns["pairing_ix"]`` (matching), or GEX with labels in obs (joint embedding).
    """

    data: TaskData
    solution: AnnData
    normalization: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        rows, columns = self.solution.shape
        return f"Problem {self.data.subtask} of {self.data.dataset}: solution of {rows:,} x {columns:,}"
