"""Two autoencoders that share a latent space, after BABEL."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from scmobench.models.base import Model
from scmobench.models.prediction.regression import RegressionModule, apply_network, capped_batch, fit_module
from scmobench.nn.mlp import MLP
from scmobench.training.fit import TrainerSettings, seeded
from scmobench.training.validation import held_out_cells
from scmobench.types import PredictionData


class BabelLike(Model):
    """Predict mod2 as decoder 2 of encoder 1: both modalities encode into one space and decode from it.

    Source: Wu et al. 2021, PNAS 118:e2023070118 (BABEL): encoders features → 64 → 16, decoders 16 → 64
    → features, trained to decode either modality from either encoding. Deviations: squared error on the
    normalised values in place of the negative binomial and binary cross-entropy likelihoods, as those
    values are what is scored, each modality's over its mean variance so that both weigh alike; peaks are
    not split by chromosome, proteins are served too; GELU for PReLU; no step-wise decay of the rate; few
    cells are trained in smaller batches (``min_steps``).

    Parameters
    ----------
    latent, hidden : dimensions of the shared space and of the layer on either side of it.
    dropout : of the hidden layers (not in the source).
    own_weight : of decoding a modality from its own encoding; from the other's weighs 1.
    learning_rate, weight_decay, batch_size, max_epochs, patience : of Adam; the epoch is kept that
        best predicts mod2 from mod1 in the held-out cells.
    min_steps : steps an epoch; the batch is made smaller to reach it.
    validation_share : of the training cells, held out.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        latent: int = 16,
        hidden: int = 64,
        dropout: float = 0.0,
        own_weight: float = 1.0,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        batch_size: int = 512,
        max_epochs: int = 500,
        patience: int | None = 25,
        min_steps: int = 1,
        validation_share: float = 0.15,
        trainer: TrainerSettings | None = None,
    ) -> None:
        self.latent, self.hidden, self.dropout, self.own_weight = latent, hidden, dropout, own_weight
        self.optimiser = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        self.length = {"max_epochs": max_epochs, "patience": patience}
        self.batch_size, self.min_steps = batch_size, min_steps
        self.validation_share, self.trainer = validation_share, trainer

    def fit(self, data: PredictionData, seed: int) -> BabelLike:
        inputs, targets = data.train_mod1.X, data.train_mod2.X
        held_out, note = held_out_cells(data.train_mod1.obs, self.validation_share, seed)
        self.notes = [note]
        self.least = float(targets.min())
        fitted = np.setdiff1d(np.arange(inputs.shape[0]), held_out)
        spread = [max(float(mean_variance_axis(side, axis=0)[1].mean()), 1e-8) for side in (inputs, targets)]
        with seeded(seed):
            self.network = SharedSpace(
                inputs.shape[1], targets.shape[1], self.hidden, self.latent, self.dropout
            )
        module = CrossDecoding(self.network, spread, self.own_weight, **self.optimiser)
        self.fitted = fit_module(
            module,
            inputs,
            targets,
            fitted=fitted,
            held_out=held_out,
            seed=seed,
            batch_size=capped_batch(self.batch_size, len(fitted), self.min_steps),
            settings=self.trainer,
            **self.length,
        )
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        """Not below the least training target: the source's outputs are not negative."""
        return np.maximum(apply_network(self.network, data.test_mod1.X), self.least)

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.network, self.notes)


class SharedSpace(nn.Module):
    """An encoder and a decoder for each modality around one latent space.

    Parameters
    ----------
    n_first, n_second : features of mod1 and mod2.
    hidden, latent : width of the hidden layer of each, dimensions of the space.
    """

    def __init__(self, n_first: int, n_second: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        shape = {"hidden": [hidden], "dropout": dropout, "batch_norm": True}
        sizes = (n_first, n_second)
        self.encoders = nn.ModuleList(
            nn.Sequential(MLP(n, latent, **shape), nn.BatchNorm1d(latent), nn.GELU()) for n in sizes
        )
        self.decoders = nn.ModuleList(MLP(latent, n, **shape) for n in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """mod1 → mod2."""
        return self.decoders[1](self.encoders[0](x))


class CrossDecoding(RegressionModule):
    """Trains a `SharedSpace` to decode both modalities from the encoding of each.

    Parameters
    ----------
    spread : mean variance of the features of mod1 and mod2; each squared error is divided by its own.
    own_weight : of decoding a modality from its own encoding.
    """

    def __init__(
        self, network: SharedSpace, spread: list[float], own_weight: float, **optimiser: float
    ) -> None:
        super().__init__(network, **optimiser)
        self.spread, self.own_weight = spread, own_weight

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        encoded = [encoder(side) for encoder, side in zip(self.network.encoders, batch, strict=True)]
        loss = torch.zeros((), device=batch[0].device)
        for source, code in enumerate(encoded):
            for target, decoder in enumerate(self.network.decoders):
                weight = self.own_weight if source == target else 1.0
                loss = loss + weight * mse_loss(decoder(code), batch[target]) / self.spread[target]
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss
