"""What the encoders of modality matching read: both modalities reduced, and propagated where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from scmobench.models.scmognn.reduction import Reduction, layer_states
from scmobench.types import MatchingData, feature_type


class MatchStates:
    """States of the cells of a matching problem, GEX first whichever way the problem is posed.

    Parameters
    ----------
    components, scaling : of `Reduction`: LSI components by modality; ``zscore``, ``center_batches``.
    layers, propagation : of `layer_states`. False: the encoders read the reduced matrices themselves.
    seed : of the SVD.
    """

    def __init__(
        self,
        components: Mapping[str, int],
        scaling: Mapping[str, Any],
        *,
        layers: int = 1,
        propagation: bool = False,
        seed: int = 0,
    ) -> None:
        self.components, self.scaling, self.seed = components, scaling, seed
        self.layers, self.propagation = layers, propagation
        self.reductions: list[Reduction] = []

    def fit_train(self, data: MatchingData) -> list[Tensor]:
        """Learn the reductions; states of the training pairs, layers x cells x features for each modality.

        Test cells take part in reduction and propagation where ``data`` has them.
        """
        n = data.train_mod1.n_obs
        blocks = (_cells(data.train_mod1, data.test_mod1), _cells(data.train_mod2_paired, data.test_mod2))
        self.reductions, states = [], []
        for modality in gex_first(data):
            reduction = Reduction(self.components, seed=self.seed, **self.scaling).fit(*blocks[modality])
            states.append(self._states(reduction, blocks[modality], slice(0, n)))
            self.reductions.append(reduction)
        return states

    def of_test(self, data: MatchingData) -> list[Tensor]:
        """States of the test cells, reduced, standardised and propagated together with the training cells.

        Where ``fit_train`` had none of them, the scale is not quite the one that the encoders were fitted on.
        """
        blocks = ((data.train_mod1, data.test_mod1), (data.train_mod2, data.test_mod2))
        test = slice(data.train_mod1.n_obs, None)
        return [
            self._states(reduction, blocks[modality], test)
            for reduction, modality in zip(self.reductions, gex_first(data), strict=True)
        ]

    def notes(self) -> str:
        """What the reductions had to do otherwise than asked."""
        return "; ".join(note for reduction in self.reductions for note in reduction.notes)

    def _states(self, reduction: Reduction, blocks: tuple[AnnData, ...], cells: slice) -> Tensor:
        states = layer_states(reduction.transform(*blocks), self.layers, self.propagation)
        return torch.from_numpy(np.array(states[:, cells]))


def gex_first(data: MatchingData) -> tuple[int, int]:
    """Places of GEX and the other modality: the network is the same in both directions."""
    return (1, 0) if feature_type(data.train_mod2) == "GEX" else (0, 1)


def _cells(train_cells: AnnData, test_cells: AnnData | None) -> tuple[AnnData, ...]:
    return (train_cells,) if test_cells is None else (train_cells, test_cells)
