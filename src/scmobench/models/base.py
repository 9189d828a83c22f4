"""What can answer a problem: a model, or a control that receives the solution."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmobench.types import TaskData

Answer = np.ndarray | sp.csr_matrix


class Model(ABC):
    """A method: learns from `TaskData`, answers with a matrix.

    Attributes
    ----------
    transductive : fit also sees the test cells' inputs. Shown in every table.
    label_supervised : fit also sees the training cells' labels. Shown in every table.
    """

    transductive: bool = False
    label_supervised: bool = False

    @abstractmethod
    def fit(self, data: TaskData, seed: int) -> "Model":
        """Learn from ``data`` and return itself. Every random draw comes from ``seed``.

        ``data`` comes from `TaskData.for_fit`: without test inputs unless `transductive`, without labels
        unless `label_supervised`.
        """

    @abstractmethod
    def predict(self, data: TaskData) -> Answer:
        """Answer for the test cells.

        Returns
        -------
        prediction: test cells x mod2 features. matching: test cells x test cells, CSR,
        non-negative, at most 1000 values a row on average (the task scales rows to sum 1).
        embedding: all cells x at most 100 dimensions.
        """

    def similarity(self, data: TaskData) -> tuple[np.ndarray, np.ndarray] | None:
        """Matching only: the factors of the similarity behind `predict`, kept for ensembles.

        Returns
        -------
        Test cells of mod1 x d and of mod2 x d. Their product left · rightᵀ is the similarity (a logit:
        softmax follows). None: the method has no such factors.
        """
        return None

    def report(self) -> dict[str, Any]:
        """What the record keeps of the fit: ``validation`` (a score), ``parameters`` (their number),
        ``epochs``, ``notes``. It may be empty."""
        return {}


class SolutionControl(ABC):
    """A control that receives the solution. It has no ``fit``, so it cannot pass for a `Model`."""

    transductive: ClassVar[bool] = True
    label_supervised: ClassVar[bool] = True

    @abstractmethod
    def answer(self, solution: AnnData, seed: int) -> Answer:
        """The matrix that `Model.predict` would return, made from the solution."""
