"""Two autoencoders that share a latent space, after BABEL."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from scmobench.models.prediction.networks import Cells, NetworkRegression
from scmobench.nn.mlp import MLP
from scmobench.types import PredictionData


@dataclass(kw_only=True)
class BabelLike(NetworkRegression):
    """Predict mod2 as decoder 2 of encoder 1: both modalities encode into one space and decode from it.

    Source: Wu et al. 2021, PNAS 118:e2023070118 (BABEL): encoders features → 64 → 16, decoders 16 → 64
    → features, trained to decode either modality from either encoding. Deviations:

    - The loss is the squared error of the normalised values, which are scored. The source has negative
      binomial and binary cross-entropy likelihoods.
    - The error of each modality is divided by its mean variance, so that both weigh the same.
    - Peaks are not split by chromosome, and proteins are served, too.
    - GELU replaces PReLU, and the learning rate does not decay.
    - Few cells are trained in smaller batches.
    """

    latent: int = 16  # dimensions of the shared space
    hidden: int = 64  # width of the layer on either side of it
    dropout: float = 0.0  # of the hidden layers; not in the source
    own_weight: float = 1.0  # of decoding a modality from its own encoding; from the other's: 1
    learning_rate: float = 0.01
    max_epochs: int = 500
    patience: int | None = 25

    def prepare(self, data: PredictionData, fitted: np.ndarray, seed: int) -> None:
        sides = (data.train_mod1.X, data.train_mod2.X)
        self.least = float(sides[1].min())
        self.spread = [max(float(mean_variance_axis(side, axis=0)[1].mean()), 1e-8) for side in sides]

    def build(self, inputs: Cells, targets: Cells) -> nn.Module:
        return SharedSpace((inputs.shape[1], targets.shape[1]), self.hidden, self.latent, self.dropout)

    def loss(self, network: "SharedSpace", inputs: Tensor, targets: Tensor) -> Tensor:
        """Squared errors of both modalities, each decoded from the encoding of each."""
        batch = (inputs, targets)
        encoded = [encoder(side) for encoder, side in zip(network.encoders, batch, strict=True)]
        loss = torch.zeros((), device=inputs.device)
        for source, code in enumerate(encoded):
            for target, decoder in enumerate(network.decoders):
                weight = self.own_weight if source == target else 1.0
                loss = loss + weight * mse_loss(decoder(code), batch[target]) / self.spread[target]
        return loss

    def predict(self, data: PredictionData) -> np.ndarray:
        """Not below the least training target: the source's outputs are not negative."""
        return np.maximum(super().predict(data), self.least)


class SharedSpace(nn.Module):
    """An encoder and a decoder for each modality around one latent space.

    Parameters
    ----------
    sizes : features of mod1 and mod2.
    hidden, latent : width of the hidden layer of each, dimensions of the space.
    """

    def __init__(self, sizes: tuple[int, int], hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        shape = {"hidden": [hidden], "dropout": dropout, "batch_norm": True}
        self.encoders = nn.ModuleList(
            nn.Sequential(MLP(n, latent, **shape), nn.BatchNorm1d(latent), nn.GELU()) for n in sizes
        )
        self.decoders = nn.ModuleList(MLP(latent, n, **shape) for n in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """mod1 → mod2."""
        return self.decoders[1](self.encoders[0](x))
