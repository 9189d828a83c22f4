"""The competition entry of team Novel: a network on the latent semantic indexing of mod1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from torch import Tensor, nn

from scmobench.data.reduce import LSI
from scmobench.models.prediction.networks import Cells, NetworkRegression, rmse
from scmobench.nn.mlp import MLP
from scmobench.types import PredictionData


@dataclass(kw_only=True)
class NovelMLP(NetworkRegression):
    """Predict mod2 by a GELU network from the z-scored LSI components of mod1, or of ADT from its values.

    Source: team Novel of the NeurIPS 2021 competition, its code. It trains on the LSI of the normalised
    values with all components, with GELU on the output too and AdamW on the root of the squared error. It
    keeps the epoch that is best on 25 % random training cells (for ADT2GEX on the test cells, which leaks
    their targets), and sets negative predictions to 0. Deviations:

    - The epoch that is kept is the best on whole training batches if there are at least 3, for ADT2GEX, too.
    - Few cells are trained in smaller batches at a higher rate.
    - Training stops early.
    """

    hidden: Sequence[int]
    dropout: float | Sequence[float]  # of each hidden layer
    components: int | None = 256  # of the LSI, at most; None: the normalised values as they are
    decoupled: bool = True

    def prepare(self, data: PredictionData, fitted: np.ndarray, seed: int) -> None:
        self.lsi = None
        if self.components is not None:
            self.lsi = LSI(self.components, drop_first=False, seed=seed, zscore=True).fit(data.train_mod1.X)

    def inputs(self, cells: AnnData) -> Cells:
        return cells.X if self.lsi is None else self.lsi.transform(cells.X)

    def build(self, inputs: Cells, targets: Cells) -> nn.Module:
        widths = inputs.shape[1], targets.shape[1]
        return MLP(*widths, self.hidden, dropout=self.dropout, activation="gelu", output_activation="gelu")

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return rmse(network(inputs), targets)

    def predict(self, data: PredictionData) -> np.ndarray:
        return np.maximum(super().predict(data), 0)
