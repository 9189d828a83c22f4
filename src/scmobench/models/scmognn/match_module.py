"""The trained part of modality matching: two encoders that meet in a joint space, and their losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from scmobench.nn.layer_weights import LayerWeights
from scmobench.nn.mlp import MLP


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

    Source: Wen et al., KDD 2022, modality matching; :math:`\tau` is a constant as in its code.
    Deviation: the mixtures are constants as targets of the decoders, so that the layer weights
    are not drawn to the layer that is easiest to reconstruct.

    Parameters
    ----------
    states : per modality, layers x cells x features: all cells that the module will be asked for.
        They are no part of the saved state.
    hidden, dropout : per modality, the encoder's hidden blocks.
    joint_dim : dimensions of the joint space.
    log_scale : τ.
    decoder_hidden, decoder_dropout : hidden blocks of both decoders.
    auxiliary : train with the decoding terms.
    learning_rate, weight_decay : of AdamW.
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
    ) -> None:
        super().__init__()
        self.set_states(*states)
        self.mixers = nn.ModuleList(LayerWeights(len(s)) for s in states)
        widths = [s.shape[2] for s in states]
        self.encoders = nn.ModuleList(
            MLP(width, joint_dim, sizes, dropout=rate)
            for width, sizes, rate in zip(widths, hidden, dropout, strict=True)
        )
        self.decoders = nn.ModuleList(
            MLP(joint_dim, width, decoder_hidden, dropout=decoder_dropout) for width in widths if auxiliary
        )
        self.scale = math.exp(log_scale)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

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
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)


def match_loss(similarity: Tensor) -> Tensor:
    """Mean over cells of −log P of the true partner, by rows plus by columns; the diagonal is true."""
    partner = torch.arange(len(similarity), device=similarity.device)
    return cross_entropy(similarity, partner) + cross_entropy(similarity.T, partner)


def top1(similarity: Tensor) -> Tensor:
    """Share of cells whose most similar partner is the true one, mean of both directions."""
    partner = torch.arange(len(similarity), device=similarity.device)
    rows = (similarity.argmax(dim=1) == partner).float().mean()
    return (rows + (similarity.argmax(dim=0) == partner).float().mean()) / 2
