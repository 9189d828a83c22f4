"""The competition entry AXX: the mean of networks that each left out one site."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scmobench.models.base import Model
from scmobench.models.prediction.networks import Training, apply_network, fit_network
from scmobench.nn.noise import Dropout
from scmobench.training.fit import FitReport, averaged_report
from scmobench.training.surroundings import seeded
from scmobench.types import PredictionData

SITE = r"^(s\d+)d\d+\Z"  # s{site}d{donor}


@dataclass(kw_only=True)
class AXXMLP(Training, Model):
    """Predict mod2 by the mean of networks. Each leaves out one site and keeps the best epoch on it.

    Source: Chen & Liu, team AXX of the NeurIPS 2021 competition (fourth in modality prediction), its
    code. For GEX2ATAC the entry is the mean of the training cells, without a network. Deviations:

    - If batches are not named by site, whole batches are dealt to the folds (of a single batch: random
      cells).
    - Few cells are trained in smaller batches.

    Raises ValueError if there are not two hidden widths.
    """

    hidden: Sequence[int] | None  # widths of the two hidden layers; None: the mean of the training cells
    dropout: float = 0.0  # between the two hidden layers
    folds: int = 3  # parts of the training cells, at most, if they are not the sites
    weight_decay: float = 1e-5
    max_epochs: int = 10

    def __post_init__(self) -> None:
        if self.hidden is not None and len(self.hidden) != 2:
            raise ValueError(f"expected the widths of 2 hidden layers, found {self.hidden}")

    def fit(self, data: PredictionData, seed: int) -> "AXXMLP":
        targets = data.train_mod2.X
        parts, note = left_out_folds(data.train_mod1.obs, self.folds, seed)
        self.notes, self.networks, self.fitted = [note], [], []
        self.mean = np.asarray(targets.mean(axis=0), dtype=np.float32).ravel()
        if self.hidden is None:
            self.notes.append("the mean of the training cells, as published: there is no network")
            squares = sum(left_out_error(targets, held_out) for held_out in parts)
        else:
            self.fitted = [self._fit_fold(data, *part, seed) for part in enumerate(parts)]
            sizes = [len(held_out) * targets.shape[1] for held_out in parts]
            squares = sum(fit.best**2 * size for fit, size in zip(self.fitted, sizes, strict=True))
        self.validation = float(np.sqrt(squares / (targets.shape[0] * targets.shape[1])))
        return self

    def _fit_fold(self, data: PredictionData, number: int, held_out: np.ndarray, seed: int) -> FitReport:
        inputs, targets = data.train_mod1.X, data.train_mod2.X
        seed = int(np.random.default_rng([seed, number]).integers(2**31))
        with seeded(seed):
            network = ConcatMLP(inputs.shape[1], targets.shape[1], self.hidden, self.dropout)
        self.networks.append(network)
        part = f"fold_{number}"
        return fit_network(network, inputs, targets, self, held_out=held_out, seed=seed, part=part)

    def predict(self, data: PredictionData) -> np.ndarray:
        cells = data.test_mod1.X
        if not self.networks:
            return np.tile(self.mean, (cells.shape[0], 1))
        return sum(apply_network(network, cells) for network in self.networks) / len(self.networks)

    def report(self) -> dict[str, Any]:
        found = averaged_report(self.networks, self.fitted, self.validation, self.notes)
        return found if self.networks else found | {"parameters": len(self.mean)}


class ConcatMLP(nn.Module):
    """Two hidden layers, both of which feed the output: [H1, H2] → targets.

    Parameters
    ----------
    n_in, n_out : input and output features.
    hidden : widths of H1 and H2, each followed by ReLU.
    dropout : of H1, before H2 and before the output.
    """

    def __init__(self, n_in: int, n_out: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        first, second = hidden
        self.first = nn.Sequential(nn.Linear(n_in, first), nn.ReLU(), Dropout(dropout))
        self.second = nn.Sequential(nn.Linear(first, second), nn.ReLU())
        self.output = nn.Linear(first + second, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Cells x ``n_in`` → cells x ``n_out``."""
        first = self.first(x)
        return self.output(torch.cat([self.second(first), first], dim=1))


def left_out_folds(obs: pd.DataFrame, folds: int, seed: int) -> tuple[list[np.ndarray], str]:
    """Parts of the training cells, each to be left out once, and a note that names them.

    The parts are the sites if all batches are called ``s{site}d{donor}`` and there are several sites.
    Otherwise the batches are dealt to at most ``folds`` parts: the largest first, each to the smallest part.
    Cells of a single batch are dealt at random.
    """
    if len(obs) < 2:
        raise ValueError(f"expected at least 2 training cells, found {len(obs)}")
    batch = obs["batch"].astype(str).to_numpy()
    site = pd.Series(batch).str.extract(SITE, expand=False)
    if site.notna().all() and site.nunique() > 1:
        sites = sorted(site.unique())
        return [np.flatnonzero(site == name) for name in sites], f"left out in turn: sites {', '.join(sites)}"
    sizes = pd.Series(batch).groupby(batch).size().sort_values(ascending=False, kind="stable")
    if len(sizes) == 1:
        parts = np.array_split(np.random.default_rng(seed).permutation(len(obs)), min(folds, len(obs)))
        note = f"one training batch: {len(parts)} folds of random cells are left out in turn"
        return [np.sort(part) for part in parts], note
    members: list[list[str]] = [[] for _ in range(min(folds, len(sizes)))]
    for name in sizes.index:
        min(members, key=lambda part: sizes[part].sum()).append(name)
    parts = [np.flatnonzero(np.isin(batch, part)) for part in members]
    return parts, "left out in turn: batches " + "; ".join(", ".join(part) for part in members)


def left_out_error(targets: sp.csr_matrix, held_out: np.ndarray) -> float:
    """Sum of squared errors of the held-out cells when the mean of all others predicts them.

    The targets (cells x features) are not made dense.
    """
    fitted = np.setdiff1d(np.arange(targets.shape[0]), held_out)
    mean = np.asarray(targets[fitted].mean(axis=0)).ravel().astype(np.float64)
    kept = targets[held_out]
    cross = np.asarray(kept.sum(axis=0, dtype=np.float64)).ravel() @ mean
    squares = float(np.square(kept.data, dtype=np.float64).sum())
    return squares - 2 * float(cross) + kept.shape[0] * float(mean @ mean)
