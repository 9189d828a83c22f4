"""Models that match cells by a similarity of their two sides, in the ways that an ``assignment`` offers."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from scmobench.models.base import Model
from scmobench.models.matching.assignment import assign, assign_softmax
from scmobench.models.matching.shared_neighbours import shared_neighbours
from scmobench.types import MatchingData

Assignment = Literal["optimal", "softmax", "shared_neighbours"]


@dataclass(kw_only=True)
class SimilarityMatching(Model):
    """Matches the test cells of both modalities within batches, by the product of their `sides`."""

    # optimal: `assign`; softmax: `assign_softmax`, the product is a logit;
    # shared_neighbours: weights of pairs, not one-to-one
    assignment: Assignment = "optimal"
    neighbours: int = 1  # of shared_neighbours
    top_k: int = 50  # of optimal
    quantile: float = 0.995  # of softmax

    @abstractmethod
    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """Test cells of mod1 x dimensions and of mod2 x dimensions."""

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        """mod1 cells x mod2 cells, CSR float32."""
        sides = self.sides(data)
        batches = data.test_mod1.obs["batch"].to_numpy(), data.test_mod2.obs["batch"].to_numpy()
        if self.assignment == "shared_neighbours":
            return shared_neighbours(*sides, *batches, k=self.neighbours)
        if self.assignment == "softmax":
            return assign_softmax(sides, *batches, quantile=self.quantile)
        return assign(sides, *batches, top_k=self.top_k)

    def similarity(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray] | None:
        """The sides if their product is a logit: an ensemble assigns its mean as the model does."""
        return self.sides(data) if self.assignment == "softmax" else None
