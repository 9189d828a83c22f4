"""A task: it cuts paired cells into the part that a model sees and the part that only the scorer sees."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.matrix import checked_matrix
from scmobench.data.preprocess import normalize
from scmobench.tasks.names import check_order, is_transposed, surplus
from scmobench.types import SUBTASKS, Paired, Problem, TaskData, feature_type

DIRECTIONS = {"from_gex": "from_gex", "to_gex": "to_gex"}
DIRECTIONS |= {name: "from_gex" if name.startswith("GEX") else "to_gex" for name in SUBTASKS if "2" in name}
"""What a direction may be called: tables name it by its subtask, e.g. ``GEX2ADT``."""
LARGEST = 1e15


class Task(ABC):
    """Split cells, pack answers, check predictions."""

    name: str  # the competition's identifier
    # whether ``to_gex`` is a subtask of its own (embedding has one subtask a pair)
    directed: ClassVar[bool] = True
    # rows of a prediction and, where the solution has the same columns, columns; in words
    axes: ClassVar[tuple[str, ...]] = ("rows (cells)", "columns (features)")

    def subtask(self, paired: Paired, direction: str) -> str:
        """``GEX2ADT`` and the like; ``GEX-ADT`` for an undirected task."""
        first, second = paired.pair
        known = {"from_gex": f"{first}2{second}", "to_gex": f"{second}2{first}"}
        if direction not in (*known, *known.values()):
            names = ", ".join((*known, *known.values()))
            raise ValueError(f"expected direction to be one of {names}, found {direction!r}")
        return known[DIRECTIONS[direction]] if self.directed else f"{first}-{second}"

    def split(self, paired: Paired, direction: str = "from_gex") -> Problem:
        """Cut ``paired`` by ``obs["is_train"]`` into a `Problem`.

        Raises ValueError for a direction that is not one of `DIRECTIONS`, or of other modalities.
        """
        subtask = self.subtask(paired, direction)
        mod1, mod2, names = normalized(paired, swap=self.directed and DIRECTIONS[direction] == "to_gex")
        data, solution = self.cut(paired, subtask, mod1, mod2)
        solution.uns |= {"dataset_id": paired.name, "protocol": paired.protocol, "subtask": subtask}
        return Problem(data, solution, names)

    @abstractmethod
    def cut(self, paired: Paired, subtask: str, mod1: AnnData, mod2: AnnData) -> tuple[TaskData, AnnData]:
        """What the model sees of the normalised modalities, and the solution."""

    def pack(self, answer: np.ndarray | sp.spmatrix, data: TaskData, method: str) -> AnnData:
        """A model's matrix as an AnnData in the competition's layout.

        Raises ValueError if the matrix has another shape than the task asks for, or a value that is not
        finite.
        """
        check_finite(answer, "the answer")
        X, (obs, var) = self.values(answer), self.names(data)
        if X.ndim != 2 or X.shape[0] != len(obs) or (var is not None and X.shape[1] != len(var)):
            expected = " x ".join(f"{len(t)} {a}" for t, a in zip((obs, var), self.axes, strict=False))
            raise ValueError(f"expected an answer of {expected}, found the shape {X.shape}")
        if var is None:
            var = pd.DataFrame(index=[f"dim_{i}" for i in range(X.shape[1])])
        prediction = AnnData(X=X, obs=obs.copy(), var=var.copy())
        prediction.uns |= {"dataset_id": data.dataset, "subtask": data.subtask, "method_id": method}
        return prediction

    def values(self, answer: np.ndarray | sp.spmatrix) -> np.ndarray | sp.spmatrix:
        """A model's matrix as it is kept."""
        return answer.astype(np.float32)

    @abstractmethod
    def names(self, data: TaskData) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Empty tables of the answer's rows and columns; None for columns without names."""

    def check(self, prediction: AnnData, solution: AnnData) -> tuple[AnnData, AnnData]:
        """Refuse a prediction that cannot be scored against ``solution``, or an unfit solution.

        Returns both as they are scored, see `real_values`. Raises ValueError for a wrong shape, cells, order
        or values; it says what was expected and found, and in which file.
        """
        solution = real_values(solution, "solution")
        prediction = real_values(self.answer(prediction, solution), "prediction")
        self.check_fit(prediction, solution)
        return prediction, solution

    def answer(self, prediction: AnnData, solution: AnnData) -> AnnData:
        """The prediction with the scored values in X."""
        return prediction

    def check_fit(self, prediction: AnnData, solution: AnnData) -> None:
        """Refuse a prediction with another shape or other names than the solution, or with unfit values."""
        rows, *columns = self.axes
        n, width = solution.n_obs, solution.n_vars if columns else prediction.n_vars
        turned = (solution.n_vars if columns else prediction.n_obs, n)
        if prediction.shape == turned != turned[::-1] or is_transposed(prediction, solution):
            raise ValueError(
                f"the prediction is transposed: expected {n} {rows}, found the shape {prediction.shape}; "
                "save prediction.T"
            )
        if prediction.shape != (n, width):
            expected = " x ".join(f"{k} {axis}" for k, axis in zip((n, width), self.axes, strict=False))
            told = surplus(rows, prediction.obs_names, solution.obs_names)
            told += "".join(surplus(axis, prediction.var_names, solution.var_names) for axis in columns)
            raise ValueError(f"expected {expected}, found the shape {prediction.shape}{told}")
        check_order(rows, prediction.obs_names, solution.obs_names, "obs")
        for axis in columns:
            check_order(axis, prediction.var_names, solution.var_names, "var")


def normalized(paired: Paired, swap: bool = False) -> tuple[AnnData, AnnData, dict[str, str]]:
    """Both modalities with X normalised; library sizes are fitted on training cells.

    Modalities that are declared normalised stay as they are. Raw counts, where known, are in
    ``layers["counts"]``; obs holds ``batch`` alone. Returns mod1, mod2 (in the other order with ``swap``) and
    the name of each modality's normalisation.
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

    Raises ValueError if X is missing, not of real numbers, a damaged sparse matrix, or has a value that is
    NaN, infinite or beyond `LARGEST`.
    """
    if table.X is None:
        raise ValueError(f"X is missing: expected the {file}'s values in X, found none: save them as X")
    X = checked_matrix(table.X, f"X of the {file}")
    if X is not table.X:
        table = table.copy()
        table.X = X
    check_finite(X, f"X of the {file}")
    values = X.data if sp.issparse(X) else X
    if values.size and (largest := max(abs(values.min()), abs(values.max()))) > LARGEST:
        raise ValueError(
            f"expected values up to {LARGEST:g} in X of the {file}, since errors and distances are squared, "
            f"found {largest:g}: scale it"
        )
    return table


def check_finite(X: np.ndarray | sp.spmatrix, where: str) -> None:
    """Raise ValueError for values that are NaN or infinite, with the place of the first."""
    if np.isfinite(X.data if sp.issparse(X) else X).all():
        return
    entries = sp.coo_matrix(X)
    bad = np.flatnonzero(~np.isfinite(entries.data))
    raise ValueError(
        f"expected finite values in {where}, found {len(bad)} NaN or infinite ones, the first in row "
        f"{entries.row[bad[0]]}, column {entries.col[bad[0]]} (counted from 0): give a number for each"
    )
