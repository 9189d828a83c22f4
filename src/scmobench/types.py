"""What every layer speaks of: paired cells, the three problems, and a score that may not apply.

Nothing here computes. A task cuts `Paired` cells into a `Problem`: the `data` that a model may
see, and the `solution` that only the scorer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from anndata import AnnData

MODALITIES = ("GEX", "ADT", "ATAC")
TASKS = ("predict_modality", "match_modality", "joint_embedding")
PROTOCOL = "neurips2021-phase2"
"""The competition's own test sets and its own rules for them."""
COUNTED = "0 is counted for it, as in the competition"
"""End of the reason of a score that holds a 0 for what could not be computed."""
SUBTASKS = ("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX", "GEX-ADT", "GEX-ATAC")


class NotApplicable(Exception):  # noqa: N818  (a state of a score, not an error)
    """Raised by a metric that the data cannot support; the message says why."""


@dataclass(frozen=True)
class Score:
    """One metric of one prediction: a value, or the reason why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Paired:
    """Two modalities measured in the same cells, in the same order.

    Attributes
    ----------
    name : dataset identifier, e.g. ``pbmc10x_cite``.
    mod1, mod2 : AnnData, cells x features. ``mod1`` is GEX. X is CSR float32, either raw counts or
        as `normalization` says; raw counts, where known, are also in ``layers["counts"]``.
        ``var["feature_types"]`` is one of `MODALITIES`.
    obs : one row a cell (index = cell names of both). Columns: ``batch``, ``is_train``,
        ``is_scored`` (cells whose labels are good enough to score embeddings with); where known
        ``cell_type``, ``phase``, ``S_score``, ``G2M_score``, ``pseudotime_order_GEX``,
        ``pseudotime_order_ADT`` or ``_ATAC``.
    normalization : modality -> name of what X holds; ``counts`` for raw counts.
    source : where the cells come from, in words.
    organism : ``human`` or ``mouse`` (cell-cycle genes), or empty where unknown.
    protocol : ``neurips2021-phase2`` for the competition's own files, else empty: published figures
        stand beside ours only where it is the same.
    hash : sha256 of the cells, features, values and split (filled by the door check).
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

    @property
    def pair(self) -> tuple[str, str]:
        """Modalities of mod1 and mod2, e.g. ``("GEX", "ADT")``."""
        return feature_type(self.mod1), feature_type(self.mod2)


def feature_type(modality: AnnData) -> str:
    """The one value of ``var["feature_types"]``."""
    return str(modality.var["feature_types"].iloc[0])


@dataclass(frozen=True)
class PredictionData:
    """Modality prediction as a model sees it: say mod2 of the test cells from their mod1.

    ``train_mod1`` and ``train_mod2`` hold the same cells in the same order. X is normalised,
    ``layers["counts"]`` raw where known, ``obs["batch"]`` the batch.
    """

    dataset: str
    subtask: str
    train_mod1: AnnData
    train_mod2: AnnData
    test_mod1: AnnData | None
    labels: pd.DataFrame | None = None

    def for_fit(self, transductive: bool, label_supervised: bool) -> PredictionData:
        """What `Model.fit` receives: test inputs and training labels only where declared."""
        return replace(
            self,
            test_mod1=self.test_mod1 if transductive else None,
            labels=self.labels if label_supervised else None,
        )


@dataclass(frozen=True)
class MatchingData:
    """Modality matching as a model sees it: which row of test_mod2 is which of test_mod1.

    Rows of both mod2 are shuffled within train and test; row k of ``train_mod2`` is the cell of
    row ``train_pairing[k]`` of ``train_mod1``. Names of mod2 rows say nothing.
    """

    dataset: str
    subtask: str
    train_mod1: AnnData
    train_mod2: AnnData
    train_pairing: np.ndarray
    test_mod1: AnnData | None
    test_mod2: AnnData | None
    labels: pd.DataFrame | None = None

    @property
    def train_mod2_paired(self) -> AnnData:
        """``train_mod2`` with its rows in the order of ``train_mod1``."""
        return self.train_mod2[np.argsort(self.train_pairing)].copy()

    def for_fit(self, transductive: bool, label_supervised: bool) -> MatchingData:
        """What `Model.fit` receives: test inputs and training labels only where declared."""
        return replace(
            self,
            test_mod1=self.test_mod1 if transductive else None,
            test_mod2=self.test_mod2 if transductive else None,
            labels=self.labels if label_supervised else None,
        )


@dataclass(frozen=True)
class EmbeddingData:
    """Joint embedding as a model sees it: place all cells of both modalities in one space.

    ``obs["is_train"]`` says which cells are training cells; ``labels`` (cell_type, S_score,
    G2M_score where known) covers training cells only.
    """

    dataset: str
    subtask: str
    mod1: AnnData
    mod2: AnnData
    labels: pd.DataFrame | None = None

    def for_fit(self, transductive: bool, label_supervised: bool) -> EmbeddingData:
        """What `Model.fit` receives: test cells and training labels only where declared."""
        keep = np.ones(self.mod1.n_obs, bool) if transductive else self.mod1.obs["is_train"].to_numpy()
        return replace(
            self,
            mod1=self.mod1[keep].copy(),
            mod2=self.mod2[keep].copy(),
            labels=self.labels if label_supervised else None,
        )


TaskData = PredictionData | MatchingData | EmbeddingData


@dataclass(frozen=True)
class Problem:
    """A task on a dataset: `data` for the model, `solution` for the scorer alone.

    ``solution`` is in the competition's layout: the test cells' mod2 (prediction), an n x n 0/1
    matrix with ``uns["pairing_ix"]`` (matching), or GEX with labels in obs (joint embedding).
    """

    data: TaskData
    solution: AnnData
    normalization: Mapping[str, str] = field(default_factory=dict)
