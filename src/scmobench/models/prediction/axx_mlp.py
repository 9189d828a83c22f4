"""The competition entry AXX: one network a left-out site, averaged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scmobench.models.base import Model
from scmobench.models.prediction.regression import apply_network, capped_batch, fit_network
from scmobench.training.fit import TrainerSettings, resumed, seeded
from scmobench.types import PredictionData

SITE = re.compile(r"(s\d+)d\d+")


class AXXMLP(Model):
    """Predict mod2 by the average of networks that each left out a site and kept the epoch best for it.

    Source: Chen & Liu, team AXX of the NeurIPS 2021 competition (fourth in modality prediction), its
    code. For GEX2ATAC the entry is the mean of the training cells, without a network. Deviations:
    where batches are not named by site, whole batches are dealt to the folds, and of one batch random
    cells; few cells are trained in smaller batches (``min_steps``).

    Parameters
    ----------
    hidden : widths of the two hidden layers. None: no network, the mean of the training cells.
    dropout : between the two hidden layers.
    folds : parts of the training cells, at most, where they are not those of the sites.
    learning_rate, weight_decay, batch_size, max_epochs : of Adam on the squared error.
    min_steps : steps an epoch; the batch is made smaller to reach it.
    trainer : device, precision, logging.

    Raises
    ------
    ValueError : not two hidden widths, or fewer than 2 folds.
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] | None,
        dropout: float = 0.0,
        folds: int = 3,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        batch_size: int = 512,
        max_epochs: int = 10,
        min_steps: int = 1,
        trainer: TrainerSettings | None = None,
    ) -> None:
        if hidden is not None and len(hidden) != 2:
            raise ValueError(f"expected the widths of 2 hidden layers, found {hidden}")
        if folds < 2:
            raise ValueError(f"expected at least 2 folds, found folds={folds}")
        self.hidden, self.dropout, self.folds = hidden, dropout, folds
        self.batch_size, self.min_steps = batch_size, min_steps
        self.optimiser = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        self.max_epochs, self.trainer = max_epochs, trainer

    def fit(self, data: PredictionData, seed: int) -> AXXMLP:
        inputs, targets = data.train_mod1.X, data.train_mod2.X
        parts, note = left_out_folds(data.train_mod1.obs, self.folds, seed)
        self.notes, self.networks, self.fitted = [note], [], []
        self.mean = np.asarray(targets.mean(axis=0), dtype=np.float32).ravel()
        squares = 0.0
        for number, held_out in enumerate(parts):
            fitted = np.setdiff1d(np.arange(inputs.shape[0]), held_out)
            if self.hidden is None:
                squares += squared_error(targets[held_out], np.asarray(targets[fitted].mean(axis=0)).ravel())
                continue
            fold_seed = int(np.random.default_rng([seed, number]).integers(2**31))
            with seeded(fold_seed):
                network = ConcatMLP(inputs.shape[1], targets.shape[1], self.hidden, self.dropout)
            report = fit_network(
                network,
                inputs,
                targets,
                fitted=fitted,
                held_out=held_out,
                seed=fold_seed,
                batch_size=capped_batch(self.batch_size, len(fitted), self.min_steps),
                max_epochs=self.max_epochs,
                settings=self.trainer,
                part=f"fold_{number}",
                **self.optimiser,
            )
            squares += report.best**2 * len(held_out) * targets.shape[1]
            self.networks.append(network)
            self.fitted.append(report)
        self.validation = float(np.sqrt(squares / (targets.shape[0] * targets.shape[1])))
        if self.hidden is None:
            self.notes.append("the mean of the training cells, as published: there is no network")
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        cells = data.test_mod1.X
        if not self.networks:
            return np.tile(self.mean, (cells.shape[0], 1))
        total = apply_network(self.networks[0], cells)
        for network in self.networks[1:]:
            total += apply_network(network, cells)
        return total / len(self.networks)

    def report(self) -> dict[str, Any]:
        counts = [sum(p.numel() for p in network.parameters()) for network in self.networks]
        return {
            "validation": self.validation,
            "parameters": sum(counts) if counts else len(self.mean),
            "epochs": max((r.epochs for r in self.fitted), default=0),
            "best_epoch": [r.best_epoch for r in self.fitted],
            "device": self.fitted[0].device if self.fitted else "cpu",
            "notes": "; ".join(filter(None, [*self.notes, resumed(self.fitted)])),
        }


class ConcatMLP(nn.Module):
    """Two hidden layers, both of which feed the output: [H1, H2] → targets.

    Parameters
    ----------
    n_in, n_out : input and output features.
    hidden : widths of H1 and H2, each followed by ReLU.
    dropout : of H1, before H2 and before the output alike.
    """

    def __init__(self, n_in: int, n_out: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        first, second = hidden
        self.first = nn.Sequential(nn.Linear(n_in, first), nn.ReLU(), nn.Dropout(dropout))
        self.second = nn.Sequential(nn.Linear(first, second), nn.ReLU())
        self.output = nn.Linear(first + second, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Cells x ``n_in`` → cells x ``n_out``."""
        first = self.first(x)
        return self.output(torch.cat([self.second(first), first], dim=1))


def left_out_folds(obs: pd.DataFrame, folds: int, seed: int) -> tuple[list[np.ndarray], str]:
    """Parts of the training cells, each to be left out once, and in words which they are.

    The sites where all batches are called ``s{site}d{donor}`` and there are several; else the batches,
    the largest first to the smallest part; of one batch random cells.

    Parameters
    ----------
    obs : training cells, with a column ``batch``.
    folds : parts, at most, where they are not the sites.

    Raises
    ------
    ValueError : fewer cells than 2.
    """
    if len(obs) < 2:
        raise ValueError(f"expected at least 2 training cells, found {len(obs)}")
    batch = obs["batch"].astype(str).to_numpy()
    matches = [SITE.fullmatch(name) for name in batch]
    if all(matches) and len(sites := sorted({m.group(1) for m in matches})) > 1:
        site = np.array([m.group(1) for m in matches])
        return [np.flatnonzero(site == name) for name in sites], f"left out in turn: sites {', '.join(sites)}"
    names, sizes = np.unique(batch, return_counts=True)
    if len(names) == 1:
        parts = np.array_split(np.random.default_rng(seed).permutation(len(obs)), min(folds, len(obs)))
        note = f"one training batch: {len(parts)} folds of random cells are left out in turn"
        return [np.sort(part) for part in parts], note
    members: list[list[str]] = [[] for _ in range(min(folds, len(names)))]
    filled = np.zeros(len(members))
    for place in np.argsort(-sizes, kind="stable"):
        smallest = int(filled.argmin())
        members[smallest].append(str(names[place]))
        filled[smallest] += sizes[place]
    parts = [np.flatnonzero(np.isin(batch, part)) for part in members]
    return parts, "left out in turn: batches " + "; ".join(", ".join(part) for part in members)


def squared_error(targets: sp.csr_matrix, mean: np.ndarray) -> float:
    """Sum over cells and features of (target - mean)², without making the targets dense."""
    mean = mean.astype(np.float64)
    cross = np.asarray(targets.sum(axis=0, dtype=np.float64)).ravel() @ mean
    squares = float(np.square(targets.data, dtype=np.float64).sum())
    return squares - 2 * float(cross) + targets.shape[0] * float(mean @ mean)
