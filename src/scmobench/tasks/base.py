"""A task: it cuts paired cells into the part that a model sees and the part that only the scorer sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.matrix import checked_matrix
from scmobench.data.preprocess import normalize
from scmobench.types import Paired, Problem, TaskData, feature_type

DIRECTIONS = ("from_gex", "to_gex")
LARGEST = 1e15


class Task(ABC):
    """Split cells, pack answers, check predictions.

    Attributes
    ----------
    name : the competition's identifier of the task.
    directed : whether ``to_gex`` is a subtask of its own (embedding has one subtask a pair).
    """

    name: str
    directed: ClassVar[bool] = True

    def subtask(self, paired: Paired, direction: str) -> str:
        """``GEX2ADT`` and the like; ``GEX-ADT`` for an undirected task."""
        if direction not in DIRECTIONS:
            raise ValueError(f"expected direction from_gex or to_gex, found {direction!r}")
        first, second = paired.pair
        if not self.directed:
            return f"{first}-{second}"
        return f"{first}2{second}" if direction == "from_gex" else f"{second}2{first}"

    @abstractmethod
    def split(self, paired: Paired, direction: str = "from_gex") -> Problem:
        """Cut ``paired`` by ``obs["is_train"]`` into a `Problem`."""

    def pack(self, answer: np.ndarray | sp.spmatrix, data: TaskData, method: str) -> AnnData:
        """A model's matrix as an AnnData in the competition's layout."""
        prediction = self.layout(answer, data)
        prediction.uns |= {"dataset_id": data.dataset, "subtask": data.subtask, "method_id": method}
        return prediction

    @abstractmethod
    def layout(self, answer: np.ndarray | sp.spmatrix, data: TaskData) -> AnnData:
        """A model's matrix with the names of its rows and columns; see `pack`."""

    def check(self, prediction: AnnData, solution: AnnData) -> tuple[AnnData, AnnData]:
        """Refuse a prediction that cannot be scored against ``solution``, or an unfit solution.

        Returns
        -------
        Both as they are scored, see `real_values`.

        Raises
        ------
        ValueError : wrong shape, cells, order or values; says what was expected and found, and in which file.
        """
        solution = real_values(solution, "solution")
        prediction = real_values(self.answer(prediction, solution), "prediction")
        self.check_fit(prediction, solution)
        return prediction, solution

    def answer(self, prediction: AnnData, solution: AnnData) -> AnnData:
        """The prediction with the scored values in X."""
        return prediction

    @abstractmethod
    def check_fit(self, prediction: AnnData, solution: AnnData) -> None:
        """Refuse a prediction with another shape, other names or other weights than the solution asks for."""


def normalized(paired: Paired, swap: bool = False) -> tuple[AnnData, AnnData, dict[str, str]]:
    """Both modalities with X normalised; library sizes are fitted on training cells.

    Modalities that are declared normalised stay as they are. Raw counts, where known, are in
    ``layers["counts"]``; obs holds ``batch`` alone.

    Returns
    -------
    mod1, mod2 (in the other order with ``swap``) and the name of each modality's normalisation.
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
            copy.layers["counts"] = modality.X
            copy.X, declared = normalize(modality.X, kind, train)
        names[kind] = declared
        result.append(copy)
    first, second = reversed(result) if swap else result
    return first, second, names


def real_values(table: AnnData, file: str) -> AnnData:
    """The ``prediction`` or ``solution`` with X in a dtype that every metric can use, see `checked_matrix`.

    Raises
    ------
    ValueError : X is missing, not of real numbers, a damaged sparse matrix, or has a value that is NaN,
        infinite or beyond `LARGEST`.
    """
    if table.X is None:
        raise ValueError(f"X is missing: expected the {file}'s values in X, found none")
    X = checked_matrix(table.X, f"X of the {file}")
    if X is not table.X:
        table = table.copy()
        table.X = X
    values = X.data if sp.issparse(X) else X
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(f"expected finite values in X of the {file}, found {bad} NaN or infinite ones")
    if values.size and (largest := max(abs(values.min()), abs(values.max()))) > LARGEST:
        raise ValueError(
            f"expected values up to {LARGEST:g} in X of the {file}, since errors and distances are squared, "
            f"found {largest:g}: scale it"
        )
    return table
