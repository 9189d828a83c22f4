"""Methods that train networks on paired cells, to place both modalities in one space."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from scmobench.models.matching.matcher import Assignment, SimilarityMatching
from scmobench.models.scmognn.match_network import PairModule
from scmobench.models.scmognn.reduction import MatchStates, gex_first
from scmobench.training.cells import fit_cells, in_chunks
from scmobench.training.fit import TrainerSettings, averaged_report
from scmobench.training.validation import Kind, validation_split
from scmobench.types import MatchingData


@dataclass(kw_only=True)
class PairNetworks(SimilarityMatching):
    """Matches by the mean similarity of several networks. Each held out other training cells.

    The best epoch is the one with the highest top-1 accuracy on the held-out cells.
    """

    # inputs, see `scmobench.models.scmognn.reduction.Reduction`
    components: Mapping[str, int]  # modality -> LSI components; modalities not named stay as normalised
    normalised: bool = False
    zscore: bool = False
    center_batches: bool = False
    # training
    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int
    validation_share: float = 0.15
    trainer: TrainerSettings | None = None
    assignment: Assignment = "softmax"

    module: ClassVar[type[PairModule]]  # made of both modalities' states (GEX first) and these settings
    layers, propagation = 1, False  # no graph

    @abstractmethod
    def held_out(self, obs: pd.DataFrame, seed: int) -> list[np.ndarray]:
        """Places of the training cells that each network is validated with."""

    def fit(self, data: MatchingData, seed: int) -> "PairNetworks":
        held_out = self.held_out(data.train_mod1.obs, seed)
        scaling = {name: getattr(self, name) for name in ("normalised", "zscore", "center_batches")}
        self.states = MatchStates(self.components, scaling, self.layers, self.propagation, seed)
        states = self.states.fit_train(data)
        fits = [
            fit_cells(
                lambda: self.module(states, self),
                np.setdiff1d(np.arange(data.train_mod1.n_obs), cells),
                cells,
                self,
                batch_size=self.batch_size,
                seed=seed * len(held_out) + number,
                mode="max",
                drop_last=True,
                part=f"model{number}" if len(held_out) > 1 else None,
            )
            for number, cells in enumerate(held_out)
        ]
        self.modules, self.fitted = zip(*fits, strict=True)
        for module in self.modules:  # the training cells are not needed any more
            module.set_states(*(torch.empty(1, 0, s.shape[2]) for s in states))
        return self

    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """Joint spaces of all networks side by side: their product is the mean of the scaled cosines."""
        order, states = gex_first(data), self.states.of_test(data)
        left, right = [], []
        for module in self.modules:
            module.cpu().eval().set_states(*states)
            joint = [in_chunks(module, side.shape[1], place) for place, side in enumerate(states)]
            left.append(joint[order[0]] * np.float32(scale_of(module) / len(self.modules)))
            right.append(joint[order[1]])
        return np.hstack(left), np.hstack(right)

    def report(self) -> dict[str, Any]:
        """Mean top-1 accuracy on the held-out cells; parameters and epochs of all networks."""
        if len(self.modules) == 1:
            return self.fitted[0].summary(self.modules[0], self.states.notes())
        validation = float(np.mean([fit.best for fit in self.fitted]))
        found = averaged_report(self.modules, self.fitted, validation, self.states.notes())
        return found | {"epochs": sum(fit.epochs for fit in self.fitted)}


def scale_of(module: PairModule) -> float:
    """What the cosines of a network are multiplied by."""
    with torch.no_grad():
        return float(module.scale)


@dataclass(kw_only=True)
class OnePairOfNetworks(PairNetworks):
    """Networks of one training, which is validated with random cells or with whole batches."""

    patience: int = 20
    validation: Kind = "random"  # `random` training cells, or `batch_separated`: whole training batches
    validation_cells: int = 4096  # held out, at most

    def held_out(self, obs: pd.DataFrame, seed: int) -> list[np.ndarray]:
        share, most = self.validation_share, self.validation_cells
        return [validation_split(obs, self.validation, share, seed, most)[1]]
