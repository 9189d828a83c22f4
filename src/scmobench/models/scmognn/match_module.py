"""The trained part of modality matching: two encoders that meet in a joint space, and their losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from scmobench.nn.layer_weights import LayerWeights
from scmobench.nn.mlp import MLP
from scmobench.training.fit import FitReport, TrainerSettings, seeded, train
from scmobench.training.limits import at_least

CHUNK = 8192
PairModule = TypeVar("PairModule", bound=LightningModule)


class MatchModule(LightningModule):
    r"""Encoders, decoders and layer weights of the matching head.

    With the layer mixtures :math:`X_1, X_2` of the same cells and unit-length embeddings
    :math:`\hat H_m = e_m(X_m) / \lVert e_m(X_m) \rVert`,

    .. math::
        S = \hat H_1 \hat H_2^\top e^\tau, \qquad
        L = -\tfrac1n \sum_i (\log P^r_{ii} + \log P^c_{ii})
            + \sum_m [\mathrm{mse}(d_m(\hat H_m), X_m) + \mathrm{mse}(d_m(\hat H_{m'}), X_m)],

    where :math:`P^r, P^c` are the softmax of S over rows and columns and :math:`m'` is the other
    modality. The last two terms are the auxiliary ones.

    Source: Wen et al., KDD 2022, modality matching; :math:`\tau` is a constant as in its code, and
    may be learned as in the contrastive entry that it grew from (`models.novel_clip`).
    Deviation: the mixtures are constants as targets of the decoders, so that the layer weights
    are not drawn to the layer that is easiest to reconstruct.

    Parameters
    ----------
    states : per modality, layers x cells x features: all cells that the module will be asked for.
        They are no part of the saved state.
    hidden, dropout : per modality, the encoder's hidden blocks.
    joint_dim : dimensions of the joint space.
    log_scale : τ, or where it starts.
    decoder_hidden, decoder_dropout : hidden blocks of both decoders.
    auxiliary : train with the decoding terms.
    learning_rate, weight_decay : of AdamW.
    activation : of the encoders' hidden blocks, see `MLP`.
    learn_scale : τ is a parameter.
    """

    def __init__(
        self,
        states: Sequence[Tensor],
        *,
        hidden: Sequence[Sequence[int]],
        dropout: Sequence[float | Sequence[float]],
        joint_dim: int,
        log_scale: float,
        decoder_hidden: Sequence[int],
        decoder_dropout: float,
        auxiliary: bool,
        learning_rate: float,
        weight_decay: float,
        activation: str = "gelu",
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.set_states(*states)
        self.mixers = nn.ModuleList(LayerWeights(len(s)) for s in states)
        widths = [s.shape[2] for s in states]
        self.encoders = nn.ModuleList(
            MLP(width, joint_dim, sizes, dropout=rate, activation=activation)
            for width, sizes, rate in zip(widths, hidden, dropout, strict=True)
        )
        self.decoders = nn.ModuleList(
            MLP(joint_dim, width, decoder_hidden, dropout=decoder_dropout) for width in widths if auxiliary
        )
        self.log_scale = nn.Parameter(torch.tensor(float(log_scale))) if learn_scale else float(log_scale)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    @property
    def scale(self) -> Tensor | float:
        """e^τ."""
        return math.exp(self.log_scale) if isinstance(self.log_scale, float) else self.log_scale.exp()

    def set_states(self, first: Tensor, second: Tensor) -> None:
        """Hand over the cells: layers x cells x features of each modality."""
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)

    def forward(self, cells: Tensor | slice, modality: int) -> Tensor:
        """Unit-length embeddings of these cells in modality 0 or 1."""
        return self._encode(self._mixture(cells, modality), modality)

    def _mixture(self, cells: Tensor | slice, modality: int) -> Tensor:
        states = self.second if modality else self.first
        return self.mixers[modality](states[:, cells])

    def _encode(self, mixture: Tensor, modality: int) -> Tensor:
        return normalize(self.encoders[modality](mixture), dim=1)

    def loss(self, cells: Tensor) -> Tensor:
        """L on these cells, whose partners are themselves."""
        mixtures = [self._mixture(cells, m) for m in (0, 1)]
        joint = [self._encode(mixture, m) for m, mixture in enumerate(mixtures)]
        loss = match_loss(joint[0] @ joint[1].T * self.scale)
        for m, decode in enumerate(self.decoders):
            target = mixtures[m].detach()
            loss = loss + mse_loss(decode(joint[m]), target) + mse_loss(decode(joint[1 - m]), target)
        return loss

    def training_step(self, cells: Tensor, _: int) -> Tensor:
        loss = self.loss(cells)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(cells))
        return loss

    def validation_step(self, cells: Tensor, _: int) -> None:
        accuracy = top1(self(cells, 0) @ self(cells, 1).T)
        self.log("validation", accuracy, batch_size=len(cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )


def fit_pairs(
    build: Callable[[], PairModule],
    fitted: np.ndarray,
    held_out: np.ndarray,
    *,
    batch_size: int,
    max_epochs: int,
    patience: int | None,
    seed: int,
    trainer: TrainerSettings | None = None,
    part: str | None = None,
) -> tuple[PairModule, FitReport]:
    """A module trained on batches of paired cells, with the parameters of its best epoch.

    Parameters
    ----------
    build : makes the module, which holds the states of all training cells and logs a ``validation``
        score that is better the higher it is.
    fitted, held_out : places of the cells to train on and of those to validate with.
    batch_size : never larger than the data; an incomplete last batch is left out.
    seed : of parameters, order of cells and dropout.
    part : name of this module's subfolder where a method trains several.
    """
    at_least(2, batch_size=batch_size)  # a cell is told from others of its step
    cells, checks = torch.from_numpy(fitted), torch.from_numpy(held_out)
    folder = Path(trainer.folder) / part if part and trainer and trainer.folder else None
    with seeded(seed):
        module = build()
        batches = BatchSampler(RandomSampler(cells), min(batch_size, len(cells)), drop_last=True)
        report = train(
            module,
            DataLoader(cells, sampler=batches, batch_size=None),
            DataLoader([checks], batch_size=None),
            settings=trainer,
            max_epochs=max_epochs,
            patience=patience,
            mode="max",
            folder=folder,
        )
    return module, report


def embed_cells(module: PairModule, states: Sequence[Tensor]) -> list[np.ndarray]:
    """Joint space of other cells: per modality, cells x dimensions, unit rows."""
    module.cpu().eval().set_states(*states)
    with torch.inference_mode():
        return [
            torch.cat(
                [module(slice(a, a + CHUNK), place) for a in range(0, states[place].shape[1], CHUNK)]
            ).numpy()
            for place in (0, 1)
        ]


def match_loss(similarity: Tensor) -> Tensor:
    """Mean over cells of −log P of the true partner, by rows plus by columns; the diagonal is true."""
    partner = torch.arange(len(similarity), device=similarity.device)
    return cross_entropy(similarity, partner) + cross_entropy(similarity.T, partner)


def top1(similarity: Tensor) -> Tensor:
    """Share of cells whose most similar partner is the true one, mean of both directions."""
    partner = torch.arange(len(similarity), device=similarity.device)
    rows = (similarity.argmax(dim=1) == partner).float().mean()
    return (rows + (similarity.argmax(dim=0) == partner).float().mean()) / 2
