"""From a modality to the states that the matching and embedding heads read: reduce, then propagate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch import Tensor

from scmobench.data.reduce import LSI
from scmobench.graph.propagation import propagate, standardised
from scmobench.models.embedding.harmony import harmonised
from scmobench.types import MatchingData, feature_type

COMPONENTS = {"GEX": 256, "ATAC": 512}  # of LSI, as published


@dataclass
class Reduction:
    """A modality's reduced matrix: LSI of raw counts for GEX and ATAC, ADT as it is normalised.

    Source: Wen et al., KDD 2022, matching and joint embedding. Deviations: batches can be centred and
    corrected; without raw counts the LSI is made from normalised values, and with ``normalised`` it is made
    from counts if the values go below 0. `notes` reports both.
    """

    n_components: Mapping[str, int]  # at most; a modality that is not named stays as it is normalised
    normalised: bool = False  # LSI from normalised values, as the competition's matching winner made it
    zscore: bool = False  # scale each cell's components, which removes the cell's depth (see `LSI`)
    # subtract the mean of each component over the cells of a batch; batches are known in both modalities
    center_batches: bool = False
    log_svd: bool = False  # no TF-IDF and no dropped component, as JAE (see `LSI`)
    # weight of Harmony's correction of the batches (`harmonised`); 0: none. It depends on the cells at hand:
    # test cells beside the training cells move the training cells as well
    harmony_theta: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.lsi: LSI | None = None
        self.notes: list[str] = []

    def fit(self, *modalities: AnnData) -> "Reduction":
        """Learn from the cells of all ``modalities``, which are parts of the same modality."""
        kind = feature_type(modalities[0])
        if kind not in self.n_components:
            return self
        counted = all("counts" in modality.layers for modality in modalities)
        if self.normalised and counted and min(modality.X.min() for modality in modalities) < 0:
            self.notes.append(f"LSI of raw counts of {kind}: normalised values go below 0")
            self.normalised = False
        if not self.normalised and not counted:
            self.notes.append(f"LSI of normalised {kind}: there are no raw counts")
            self.normalised = True
        full = not self.log_svd
        lsi = LSI(int(self.n_components[kind]), full, seed=self.seed, weighted=full, zscore=self.zscore)
        values = [self._values(modality) for modality in modalities]
        self.lsi = lsi.fit(sp.vstack(values, format="csr") if len(values) > 1 else values[0])
        return self

    def transform(self, *modalities: AnnData) -> np.ndarray:
        """Cells of all ``modalities``, one after the other, x components; float32."""
        rows = [self._reduced(modality) for modality in modalities]
        reduced = np.concatenate(rows).astype(np.float32, copy=False)
        batch = pd.concat([modality.obs["batch"].astype(str) for modality in modalities])
        if self.center_batches:
            for name in batch.unique():
                here = (batch == name).to_numpy()
                reduced[here] -= reduced[here].mean(axis=0)
        if self.harmony_theta > 0:
            reduced = harmonised(reduced, batch, theta=self.harmony_theta, seed=self.seed)
        return reduced

    def _reduced(self, modality: AnnData) -> np.ndarray:
        if self.lsi:
            return self.lsi.transform(self._values(modality))
        return modality.X.toarray() if sp.issparse(modality.X) else np.asarray(modality.X)

    def _values(self, modality: AnnData) -> sp.csr_matrix:
        return sp.csr_matrix(modality.X if self.normalised else modality.layers["counts"])


def layer_states(reduced: np.ndarray, layers: int, propagation: bool, first: int = 2) -> np.ndarray:
    """Layers x cells x components: the propagated states from layer ``first`` on, or the matrix itself.

    The matrix itself is shifted and scaled as a whole to mean 0 and standard deviation 1, like the
    propagated states, so that the ablation differs only in the graph.
    """
    return propagate(reduced, layers, first=first) if propagation else standardised(reduced)[None]


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

    def notes(self) -> list[str]:
        """What the reductions did differently from the settings."""
        return [note for reduction in self.reductions for note in reduction.notes]

    def _states(self, blocks: list[list[AnnData]], cells: slice) -> list[Tensor]:
        reduced = (r.transform(*block) for r, block in zip(self.reductions, blocks, strict=True))
        states = (layer_states(matrix, self.layers, self.propagation) for matrix in reduced)
        return [torch.from_numpy(np.array(kept[:, cells])) for kept in states]


def gex_first(data: MatchingData) -> tuple[int, int]:
    """Places of GEX and of the other modality: the network is the same in both directions."""
    return (1, 0) if feature_type(data.train_mod2) == "GEX" else (0, 1)
