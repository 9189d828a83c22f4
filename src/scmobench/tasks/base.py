"""A task: it cuts paired cells into what a model may see and what only the scorer may see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.preprocess import Normalizer
from scmobench.types import Paired, Problem, TaskData, feature_type

DIRECTIONS = ("from_gex", "to_gex")


class Task(ABC):
    """Cut, pack, check: the three things that a task does with cells and predictions.

    Attributes
    ----------
    name : the competition's identifier of the task.
    directed : whether ``to_gex`` is a subtask of its own (embedding has one subtask a pair).
    """

    name: str
    directed: ClassVar[bool] = True

    def subtask(self, paired: Paired, direction: str) -> str:
        """``GEX2ADT`` and the like; ``GEX-ADT`` for an undirected task.

        Raises
        ------
        ValueError : a direction that is not one of `DIRECTIONS`.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"expected direction from_gex or to_gex, found {direction!r}")
        first, second = paired.pair
        if not self.directed:
            return f"{first}-{second}"
        return f"{first}2{second}" if direction == "from_gex" else f"{second}2{first}"

    @abstractmethod
    def split(self, paired: Paired, direction: str = "from_gex") -> Problem:
        """Cut ``paired`` by ``obs["is_train"]`` into `Problem`."""

    @abstractmethod
    def pack(self, answer: np.ndarray | sp.spmatrix, data: TaskData, method: str) -> AnnData:
        """A model's matrix as an AnnData in the competition's layout.

        Raises
        ------
        ValueError : the matrix does not have the shape that the task asks for.
        """

    @abstractmethod
    def check(self, prediction: AnnData, solution: AnnData) -> None:
        """Refuse a prediction that cannot be scored against ``solution``.

        Raises
        ------
        ValueError : wrong shape, cells, order, values; says what was expected and found.
        """


def normalized(paired: Paired, swap: bool = False) -> tuple[AnnData, AnnData, dict[str, str]]:
    """Both modalities with X normalised; library sizes and the like fitted on training cells.

    Modalities that are declared normalised stay as they are. Raw counts, where known, are in
    ``layers["counts"]``; obs holds ``batch`` alone.

    Returns
    -------
    mod1, mod2 (swapped on request) and the name of each modality's normalisation.
    """
    train = paired.obs["is_train"].to_numpy()
    result, names = [], {}
    for modality in (paired.mod1, paired.mod2):
        kind = feature_type(modality)
        declared = paired.normalization.get(kind, "counts")
        copy = AnnData(
            X=modality.X, obs=paired.obs[["batch"]].copy(), var=modality.var[["feature_types"]].copy()
        )
        if "counts" in modality.layers:
            copy.layers["counts"] = modality.layers["counts"]
        if declared == "counts":
            normalizer = Normalizer.of(kind)
            copy.layers["counts"] = modality.X
            copy.X = normalizer.fit(modality.X[train]).transform(modality.X)
            declared = normalizer.name
        names[kind] = declared
        result.append(copy)
    first, second = reversed(result) if swap else result
    return first, second, names


def same_cells(prediction: AnnData, solution: AnnData) -> None:
    """Refuse a prediction whose rows are not the solution's cells in the solution's order."""
    if prediction.n_obs != solution.n_obs:
        raise ValueError(f"expected {solution.n_obs} cells (rows), found {prediction.n_obs}")
    found, expected = prediction.obs_names, solution.obs_names
    if (found == expected).all():
        return
    if set(found) == set(expected):
        raise ValueError(
            "the cells are the right ones in another order: reorder them, e.g. "
            "prediction = prediction[solution.obs_names].copy()"
        )
    missing = [name for name in expected if name not in set(found)]
    raise ValueError(
        f"{len(missing)} of {len(expected)} cells of the solution are not in the prediction, "
        f"the first is {missing[0]!r}; obs_names must be the test cells' names"
    )


def finite(prediction: AnnData) -> None:
    """Refuse NaN and infinity, and a file without values."""
    if prediction.X is None:
        raise ValueError("X is missing: expected the prediction's values in X, found none")
    values = prediction.X.data if sp.issparse(prediction.X) else np.asarray(prediction.X)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(f"expected finite values, found {bad} NaN or infinite ones in X")
