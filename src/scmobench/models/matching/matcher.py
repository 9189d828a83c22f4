"""From two sides of a similarity to a matching, in the ways that models with an ``assignment`` offer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scmobench.models.matching.assignment import assign, assign_softmax
from scmobench.models.matching.shared_neighbours import shared_neighbours
from scmobench.types import MatchingData

ASSIGNMENTS = ("optimal", "softmax", "shared_neighbours")


@dataclass(frozen=True)
class Matcher:
    """Matches the test cells of both modalities, within batches.

    Attributes
    ----------
    assignment : ``optimal`` (`assign`), ``softmax`` (`assign_softmax`; the sides are factors of logits), or
        ``shared_neighbours`` (weights of pairs, not one-to-one).
    neighbours : of ``shared_neighbours``.
    top_k : of ``optimal``.
    quantile : of ``softmax``.

    Raises
    ------
    ValueError : another assignment.
    """

    assignment: str
    neighbours: int = 1
    top_k: int = 50
    quantile: float = 0.995

    def __post_init__(self) -> None:
        if self.assignment not in ASSIGNMENTS:
            raise ValueError(f"expected an assignment of {ASSIGNMENTS}, found {self.assignment!r}")

    def __call__(self, sides: tuple[np.ndarray, np.ndarray], data: MatchingData) -> sp.csr_matrix:
        """mod1 cells x mod2 cells, CSR float32; ``sides``: test cells of mod1 and of mod2 x dimensions."""
        batches = data.test_mod1.obs["batch"].to_numpy(), data.test_mod2.obs["batch"].to_numpy()
        if self.assignment == "shared_neighbours":
            return shared_neighbours(*sides, *batches, k=self.neighbours)
        if self.assignment == "softmax":
            return assign_softmax(sides, *batches, quantile=self.quantile)
        return assign(sides, *batches, top_k=self.top_k)
