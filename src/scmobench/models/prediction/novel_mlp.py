"""The competition entry of team Novel: a network on the latent semantic indexing of mod1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.reduce import LSI
from scmobench.models.base import Model
from scmobench.models.prediction.regression import apply_network, capped_batch, fit_network
from scmobench.nn.mlp import MLP
from scmobench.training.fit import TrainerSettings, seeded
from scmobench.training.validation import held_out_cells
from scmobench.types import PredictionData


class NovelMLP(Model):
    """Predict mod2 by a GELU network from the z-scored LSI components of mod1; of ADT from its values.

    Source: team Novel of the NeurIPS 2021 competition, its code: LSI of the normalised values with all
    components, GELU on the output too, AdamW on the root of the squared error, the epoch kept that is best
    on 25 % random training cells (for ADT2GEX: on the test cells, which leaks their targets), negative
    predictions set to 0. Deviations: the epoch kept is best on whole training batches, drawn up to
    ``validation_share`` of the cells (random cells where there are fewer than 3 batches), for ADT2GEX too;
    few cells are trained in smaller batches (``min_steps``) at a higher rate; training stops after
    ``patience`` epochs without a better one.

    Parameters
    ----------
    components : of the LSI, at most. None: the normalised values as they are.
    hidden, dropout : width and dropout of each hidden layer.
    learning_rate, weight_decay, decoupled : of Adam; decoupled: AdamW.
    batch_size, min_steps : cells in a step, made fewer to reach this many steps an epoch.
    max_epochs, patience : length; patience None: to the end.
    validation_share : of the training cells, held out.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int],
        dropout: float | Sequence[float],
        learning_rate: float,
        weight_decay: float,
        batch_size: int,
        components: int | None = 256,
        decoupled: bool = True,
        max_epochs: int = 100,
        patience: int | None = None,
        min_steps: int = 1,
        validation_share: float = 0.15,
        trainer: TrainerSettings | None = None,
    ) -> None:
        self.components, self.hidden, self.dropout = components, hidden, dropout
        self.optimiser = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        self.optimiser["decoupled"] = decoupled
        self.length = {"max_epochs": max_epochs, "patience": patience}
        self.batch_size, self.min_steps = batch_size, min_steps
        self.validation_share, self.trainer = validation_share, trainer

    def fit(self, data: PredictionData, seed: int) -> NovelMLP:
        cells, targets = data.train_mod1, data.train_mod2.X
        self.lsi = None
        if self.components is not None:
            self.lsi = LSI(self.components, drop_first=False, seed=seed, zscore=True).fit(cells.X)
        inputs = self._inputs(cells)
        held_out, note = held_out_cells(cells.obs, self.validation_share, seed)
        self.notes = [note]
        fitted = np.setdiff1d(np.arange(cells.n_obs), held_out)
        with seeded(seed):
            self.network = MLP(
                inputs.shape[1],
                targets.shape[1],
                self.hidden,
                dropout=self.dropout,
                activation="gelu",
                output_activation="gelu",
            )
        self.fitted = fit_network(
            self.network,
            inputs,
            targets,
            fitted=fitted,
            held_out=held_out,
            seed=seed,
            batch_size=capped_batch(self.batch_size, len(fitted), self.min_steps),
            loss="rmse",
            settings=self.trainer,
            **self.length,
            **self.optimiser,
        )
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        return np.maximum(apply_network(self.network, self._inputs(data.test_mod1)), 0)

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.network, self.notes)

    def _inputs(self, cells: AnnData) -> np.ndarray | sp.csr_matrix:
        return cells.X if self.lsi is None else self.lsi.transform(cells.X)
