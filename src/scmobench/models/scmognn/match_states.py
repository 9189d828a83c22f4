"""What the encoders of modality matching read: both modalities reduced, and propagated if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from scmobench.models.scmognn.reduction import Reduction, layer_states
from scmobench.types import MatchingData, feature_type


@dataclass
class MatchStates:
    """States of the cells of a matching problem: GEX first in both directions of the problem."""

    components: Mapping[str, int]  # modality -> LSI components
    scaling: Mapping[str, Any]  # other settings of `Reduction`
    layers: int = 1  # of `layer_states`
    propagation: bool = False  # False: the encoders read the reduced matrices themselves
    seed: int = 0

    def fit_train(self, data: MatchingData) -> list[Tensor]:
        """Learn the reductions; return the training pairs' states, per modality layers x cells x features.

        Test cells take part in reduction and propagation if ``data`` has them.
        """
        sides = ((data.train_mod1, data.test_mod1), (data.train_mod2_paired, data.test_mod2))
        blocks = [[cells for cells in sides[place] if cells is not None] for place in gex_first(data)]
        made = [Reduction(self.components, seed=self.seed, **self.scaling).fit(*block) for block in blocks]
        self.reductions = made
        return self._states(blocks, slice(0, data.train_mod1.n_obs))

    def of_test(self, data: MatchingData) -> list[Tensor]:
        """States of the test cells, reduced, standardised and propagated together with the training cells.

        If ``fit_train`` did not see them, the scale differs a little from the one the encoders learned.
        """
        sides = ((data.train_mod1, data.test_mod1), (data.train_mod2, data.test_mod2))
        return self._states([sides[place] for place in gex_first(data)], slice(data.train_mod1.n_obs, None))

    def notes(self) -> str:
        """What the reductions did differently from the settings."""
        return "; ".join(note for reduction in self.reductions for note in reduction.notes)

    def _states(self, blocks: list[list[AnnData]], cells: slice) -> list[Tensor]:
        reduced = (r.transform(*block) for r, block in zip(self.reductions, blocks, strict=True))
        states = (layer_states(matrix, self.layers, self.propagation) for matrix in reduced)
        return [torch.from_numpy(np.array(kept[:, cells])) for kept in states]


def gex_first(data: MatchingData) -> tuple[int, int]:
    """Places of GEX and of the other modality: the network is the same in both directions."""
    return (1, 0) if feature_type(data.train_mod2) == "GEX" else (0, 1)
