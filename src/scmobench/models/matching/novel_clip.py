"""Contrastive matching: two networks that meet on the unit sphere, one pair for each left-out batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from scmobench.models.base import Model
from scmobench.models.matching.matcher import Matcher
from scmobench.models.scmognn.match_module import MatchModule, embed_cells, fit_pairs
from scmobench.models.scmognn.match_states import MatchStates, gex_first
from scmobench.training.fit import TrainerSettings, resumed
from scmobench.training.validation import LEAST_LEFT, validation_split
from scmobench.types import MatchingData

MIN_HELD_OUT = 50  # cells of a batch that validates


class NovelClip(Model):
    """Contrastive learning as in CLIP, between cells of two modalities, then assignment within batch.

    LSI of the normalised values of GEX and ATAC with rows z-scored, ADT as normalised; ELU networks onto the
    unit sphere; symmetric cross-entropy of the similarities times a learned e^τ (`MatchModule` without
    decoders). A model is trained without each training batch and validated on it, best epoch by top-1
    accuracy; the test cells' similarities are the mean over the models. This is the matching of scMoGNN
    without the graph, and shares its code.

    Source: team Novel (Ryazantsev, Russkikh, Rybakov), NeurIPS 2021 competition, submission 169594, and
    its code for the settings (Lance et al. 2022, PMLR 176:162). Deviations: the loss is twice
    the source's; the LSI sees the inputs of the left-out batch too; the assignment is made on the softmax
    over rows + columns, pruned by quantile, as scMoGNN does (the source pruned the cosines themselves).

    Parameters
    ----------
    components : modality -> LSI components; modalities not named stay as normalised.
    normalised, zscore, center_batches : see `reduction.Reduction`.
    joint_dim, log_scale : dimensions of the joint space, and where τ starts.
    learn_scale : False keeps τ.
    activation : of the hidden blocks.
    gex_hidden, gex_dropout, other_hidden, other_dropout : networks of GEX and the other modality.
    learning_rate, weight_decay, batch_size, max_epochs, patience : of the training (Adam).
    models : at most so many left-out batches; None: all of them.
    validation_share : random training cells held out where there is but one training batch.
    assignment, neighbours, quantile : see `Matcher`.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        components: Mapping[str, int],
        normalised: bool = True,
        zscore: bool = True,
        center_batches: bool = False,
        joint_dim: int = 64,
        log_scale: float = 3.463735,
        learn_scale: bool = True,
        activation: str = "elu",
        gex_hidden: Sequence[int] = (1024, 512),
        gex_dropout: float | Sequence[float] = (0.011, 0.255),
        other_hidden: Sequence[int] = (512, 2048),
        other_dropout: float | Sequence[float] = (0.022, 0.297),
        learning_rate: float = 7.8e-5,
        weight_decay: float = 0.0,
        batch_size: int = 2048,
        max_epochs: int = 7000,
        patience: int = 150,
        models: int | None = None,
        validation_share: float = 0.15,
        quantile: float = 0.99,
        assignment: str = "softmax",
        neighbours: int = 1,
        trainer: TrainerSettings | None = None,
    ) -> None:
        if models is not None and models < 1:
            raise ValueError(f"expected at least one model, found models={models}")
        self.components = components
        self.scaling = {"normalised": normalised, "zscore": zscore, "center_batches": center_batches}
        self.network = {
            "hidden": (gex_hidden, other_hidden),
            "dropout": (gex_dropout, other_dropout),
            "joint_dim": joint_dim,
            "log_scale": log_scale,
            "learn_scale": learn_scale,
            "activation": activation,
            "decoder_hidden": (),
            "decoder_dropout": 0.0,
            "auxiliary": False,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
        }
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.models, self.validation_share = models, validation_share
        self.match, self.trainer = Matcher(assignment, neighbours, quantile=quantile), trainer

    def fit(self, data: MatchingData, seed: int) -> NovelClip:
        folds = self._folds(data.train_mod1.obs, seed)
        self.states = MatchStates(self.components, self.scaling, seed=seed)
        states = self.states.fit_train(data)
        fits = [
            fit_pairs(
                lambda: MatchModule(states, **self.network),
                np.setdiff1d(np.arange(data.train_mod1.n_obs), held_out),
                held_out,
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                patience=self.patience,
                seed=seed * len(folds) + number,
                trainer=self.trainer,
                part=f"model{number}",
            )
            for number, held_out in enumerate(folds)
        ]
        self.modules, self.fitted = ([fit[i] for fit in fits] for i in (0, 1))
        for module in self.modules:  # the training cells are not needed any more
            module.set_states(*(torch.empty(1, 0, s.shape[2]) for s in states))
        return self

    def _folds(self, obs: pd.DataFrame, seed: int) -> list[np.ndarray]:
        """Held-out cells of each model: one training batch, or random cells where there is only one."""
        _, random_cells = validation_split(obs, "random", self.validation_share, seed)
        batch = obs["batch"].astype(str).to_numpy()
        found, sizes = np.unique(batch, return_counts=True)
        # top-1 accuracy among a few cells says nothing, and few others are nothing to train on
        names = found[(sizes >= min(MIN_HELD_OUT, len(obs) / 4)) & (sizes <= (1 - LEAST_LEFT) * len(obs))]
        self.by_batch = len(found) > 1 and len(names) > 0
        if not self.by_batch:
            return [random_cells]
        names = np.random.default_rng(seed).permutation(names)[: self.models]
        return [np.flatnonzero(batch == name) for name in names]

    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """Joint spaces of all models side by side: their product is the mean of the models' e^τ cosines."""
        order, states = gex_first(data), self.states.of_test(data)
        left, right = [], []
        for module in self.modules:
            joint = embed_cells(module, states)
            left.append(joint[order[0]] * np.float32(_scale(module) / len(self.modules)))
            right.append(joint[order[1]])
        return np.hstack(left), np.hstack(right)

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        """One-to-one matching within batches, or the weights of shared nearest neighbours."""
        return self.match(self.sides(data), data)

    def similarity(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray] | None:
        """`sides`, where they are assigned as an ensemble assigns its mean."""
        return self.sides(data) if self.match.assignment == "softmax" else None

    def report(self) -> dict[str, Any]:
        """Mean top-1 accuracy on the left-out batches, sizes, and what the temperatures became."""
        kind = f"{len(self.modules)} left-out batches" if self.by_batch else "random training cells"
        notes = [f"validated on {kind}", self.states.notes(), resumed(self.fitted)]
        return {
            "validation": float(np.mean([fit.best for fit in self.fitted])),
            "parameters": sum(p.numel() for module in self.modules for p in module.parameters()),
            "epochs": sum(fit.epochs for fit in self.fitted),
            "best_epoch": [fit.best_epoch for fit in self.fitted],
            "device": self.fitted[0].device,
            "scale": [round(_scale(module), 3) for module in self.modules],
            "notes": "; ".join(note for note in notes if note),
        }


def _scale(module: MatchModule) -> float:
    with torch.no_grad():
        return float(module.scale)
