"""Cross-linked autoencoders: each modality is encoded into the latent spaces of both, and decodes both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from scmobench.models.base import Model
from scmobench.models.matching.matcher import Matcher
from scmobench.models.scmognn.match_module import embed_cells, fit_pairs, top1
from scmobench.models.scmognn.match_states import MatchStates, gex_first
from scmobench.nn.mlp import MLP
from scmobench.training.fit import TrainerSettings
from scmobench.training.rmsprop import RMSprop
from scmobench.training.validation import validation_split
from scmobench.types import MatchingData


class ClueModule(LightningModule):
    r"""Encoders e_ij of modality i into the latent space of modality j, and a decoder d_j of each space.

    .. math::
        L = \sum_j \mathrm{mse}(d_j(e_{jj}(x_j)), x_j)
          + w_\times \sum_{i \ne j} \mathrm{mse}(d_j(e_{ij}(x_i)), x_j)
          + w_c \, (1 - \cos(u_1, u_2)), \qquad u_i = [e_{i1}(x_i), e_{i2}(x_i)]

    on paired cells; the cosine is the mean over cells. A cell of either modality stands at u.

    Parameters
    ----------
    states : per modality, 1 x cells x features. They are no part of the saved state.
    latent_dim : dimensions of each of both latent spaces.
    hidden, decoder_hidden, dropout : blocks of encoders and decoders (ReLU, batch normalisation).
    cross_weight, align_weight : of the second and the third term.
    learning_rate : of RMSprop.
    """

    def __init__(
        self,
        states: Sequence[Tensor],
        *,
        latent_dim: int,
        hidden: Sequence[int],
        decoder_hidden: Sequence[int],
        dropout: float,
        cross_weight: float,
        align_weight: float,
        learning_rate: float,
    ) -> None:
        super().__init__()
        self.set_states(*states)
        block = {"dropout": dropout, "activation": "relu", "batch_norm": True}
        widths = [s.shape[2] for s in states]
        self.encoders = nn.ModuleList(
            nn.ModuleList(MLP(width, latent_dim, hidden, **block) for _ in widths) for width in widths
        )
        self.decoders = nn.ModuleList(MLP(latent_dim, width, decoder_hidden, **block) for width in widths)
        self.cross_weight, self.align_weight = cross_weight, align_weight
        self.learning_rate = learning_rate

    def set_states(self, first: Tensor, second: Tensor) -> None:
        """Hand over the cells: 1 x cells x features of each modality."""
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)

    def _latent(self, cells: Tensor | slice, modality: int) -> list[Tensor]:
        states = self.second if modality else self.first
        return [encode(states[0, cells]) for encode in self.encoders[modality]]

    def forward(self, cells: Tensor | slice, modality: int) -> Tensor:
        """u of these cells in modality 0 or 1, at unit length."""
        return normalize(torch.cat(self._latent(cells, modality), dim=1), dim=1)

    def loss(self, cells: Tensor) -> Tensor:
        """L on these cells, whose partners are themselves."""
        latent = [self._latent(cells, m) for m in (0, 1)]
        joint = [normalize(torch.cat(parts, dim=1), dim=1) for parts in latent]
        loss = self.align_weight * (1 - (joint[0] * joint[1]).sum(dim=1).mean())
        for j, (states, decode) in enumerate(zip((self.first, self.second), self.decoders, strict=True)):
            target = states[0, cells]
            loss = loss + mse_loss(decode(latent[j][j]), target)
            loss = loss + self.cross_weight * mse_loss(decode(latent[1 - j][j]), target)
        return loss

    def training_step(self, cells: Tensor, _: int) -> Tensor:
        return self.loss(cells)

    def validation_step(self, cells: Tensor, _: int) -> None:
        self.log("validation", top1(self(cells, 0) @ self(cells, 1).T), batch_size=len(cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return RMSprop(self.parameters(), lr=self.learning_rate)


class ClueLike(Model):
    """Cross-linked autoencoders, then matching within batch.

    After CLUE (Tu et al. 2022, Cross-Linked Unified Embedding, NeurIPS), which won the competition's
    matching task. Deviations: plain autoencoders with squared error on reduced and standardised inputs,
    where CLUE has variational ones with negative binomial likelihoods of counts; no adversary between the
    modalities, as the training pairs are aligned by cosine; the test cells' inputs are not used to
    fine-tune; best epoch by top-1 accuracy on held-out training cells. What the tables run also differs in 32
    components for 100, an alignment weight of 0.7, lower rates, and in the answer: one-to-one assignment in
    place of CLUE's shared neighbours (`assignment`), as held-out training cells prefer it.

    Parameters
    ----------
    components : modality -> LSI components; modalities not named stay as normalised.
    zscore, center_batches : see `reduction.Reduction`.
    latent_dim, hidden, decoder_hidden, dropout, cross_weight, align_weight, learning_rate : see
        `ClueModule`.
    batch_size, max_epochs, patience : of the training.
    validation : ``random`` training cells, or ``batch_separated``: whole training batches.
    validation_share, validation_cells : how many are held out; the smaller of both.
    assignment, neighbours : see `Matcher`; logits are the cosines times ``scale``.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        components: Mapping[str, int],
        zscore: bool = False,
        center_batches: bool = True,
        latent_dim: int = 20,
        hidden: Sequence[int] = (512, 512),
        decoder_hidden: Sequence[int] = (128,),
        dropout: float = 0.2,
        cross_weight: float = 2.0,
        align_weight: float = 1.0,
        learning_rate: float = 2e-3,
        batch_size: int = 128,
        max_epochs: int = 200,
        patience: int = 20,
        validation: str = "random",
        validation_share: float = 0.15,
        validation_cells: int = 4096,
        assignment: str = "shared_neighbours",
        neighbours: int = 1,
        scale: float = 20.0,
        trainer: TrainerSettings | None = None,
    ) -> None:
        self.components = components
        self.scaling = {"zscore": zscore, "center_batches": center_batches}
        self.network = {
            "latent_dim": latent_dim,
            "hidden": hidden,
            "decoder_hidden": decoder_hidden,
            "dropout": dropout,
            "cross_weight": cross_weight,
            "align_weight": align_weight,
            "learning_rate": learning_rate,
        }
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.validation = {"kind": validation, "share": validation_share, "most": validation_cells}
        self.match, self.scale, self.trainer = Matcher(assignment, neighbours), scale, trainer

    def fit(self, data: MatchingData, seed: int) -> ClueLike:
        cells = validation_split(data.train_mod1.obs, seed=seed, **self.validation)
        self.states = MatchStates(self.components, self.scaling, seed=seed)
        states = self.states.fit_train(data)
        self.module, self.fitted = fit_pairs(
            lambda: ClueModule(states, **self.network),
            *cells,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            seed=seed,
            trainer=self.trainer,
        )
        self.module.set_states(*(torch.empty(1, 0, s.shape[2]) for s in states))
        return self

    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """u of the test cells, that of mod1 times ``scale``: their product is a logit."""
        joint = embed_cells(self.module, self.states.of_test(data))
        first, second = (joint[place] for place in gex_first(data))
        return first * np.float32(self.scale), second

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        """Weights of shared nearest neighbours, or a one-to-one matching within batches."""
        return self.match(self.sides(data), data)

    def similarity(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray] | None:
        """`sides`, where they are assigned as an ensemble assigns its mean."""
        return self.sides(data) if self.match.assignment == "softmax" else None

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.module, self.states.notes())
