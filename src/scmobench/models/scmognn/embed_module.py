"""The trained part of joint embedding: an autoencoder whose first dimensions have a meaning each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, mse_loss

from scmobench.nn.layer_weights import LayerWeights
from scmobench.nn.mlp import MLP, skip_network

UNKNOWN = -1  # code of a cell without a cell type


class EmbedModule(LightningModule):
    r"""Encoder, decoder and layer weights of the embedding head.

    The embedding of a cell is four blocks: logits of the cell types, a batch block that is to say
    nothing, the cell-cycle scores, and free dimensions. With :math:`n` cells of a training batch,

    .. math::
        L = \lambda_r\,\mathrm{mse}(\hat X, X) + \lambda_t\,\mathrm{CE}(z_{type})
          + \lambda_b\,10^{-2} \sum_{i \le n} \lVert z_{batch, i} \rVert_2
          + \lambda_c\,\mathrm{mse}(z_{cycle}, [S, G2M]).

    Source: Wen et al., KDD 2022, joint embedding (after the competition's JAE). Deviations: the sum
    over a batch's cells is their mean times the nominal batch size, so that a short batch and the
    validation cells weigh the same; the layer mixture is a constant as the decoder's target; cells
    without a label are left out of that term. With ``batch_target="uniform"`` the third term is JAE's:
    the divergence of the batch block's softmax from equal chances, mean over the cells.

    Parameters
    ----------
    states : layers x cells x features, all cells that the module will be asked for.
    cell_type : code of each cell's type, `UNKNOWN` where not known.
    cycle : cells x scores, NaN where not known; no columns where there are none.
    blocks : dimensions of the blocks ``cell_type``, ``batch``, ``cycle``, ``free``.
    weights : λ of ``reconstruction``, ``cell_type``, ``regulariser``, ``cell_cycle``.
    hidden, dropout : encoder blocks. decoder_hidden : of the decoder.
    skip_connections : the encoder of JAE (`skip_network`), which ends in a ReLU, in place of an `MLP`.
    output_relu : end the decoder in a ReLU, as published, although its target has both signs.
    batch_size : nominal, see above.
    batch_target : what the batch block is driven to, ``zero`` or ``uniform``.
    learning_rate, weight_decay : of AdamW; the layer weights have no decay.
    """

    def __init__(
        self,
        states: Tensor,
        cell_type: Tensor,
        cycle: Tensor,
        *,
        blocks: Mapping[str, int],
        weights: Mapping[str, float],
        hidden: Sequence[int],
        dropout: float,
        decoder_hidden: Sequence[int],
        output_relu: bool,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        batch_target: str = "zero",
        skip_connections: bool = False,
    ) -> None:
        super().__init__()
        if batch_target not in ("zero", "uniform"):
            raise ValueError(f"expected batch_target 'zero' or 'uniform', found {batch_target!r}")
        self.batch_target = batch_target
        self.set_states(states)
        self.register_buffer("cell_type", cell_type, persistent=False)
        self.register_buffer("cycle", cycle, persistent=False)
        self.sizes = [blocks[name] for name in ("cell_type", "batch", "cycle", "free")]
        self.loss_weights, self.batch_size = dict(weights), batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        width, dimensions = states.shape[2], sum(self.sizes)
        self.mixer = LayerWeights(len(states))
        if skip_connections:
            self.encoder = skip_network(width, dimensions, hidden, dropout)
        else:
            self.encoder = MLP(width, dimensions, hidden, dropout=dropout, batch_norm=True)
        self.decoder = MLP(
            dimensions,
            width,
            decoder_hidden,
            activation="relu",
            output_activation="relu" if output_relu else "none",
        )

    def set_states(self, states: Tensor) -> None:
        """Hand over the cells: layers x cells x features. No part of the saved state."""
        self.register_buffer("states", states, persistent=False)

    def forward(self, cells: Tensor | slice) -> Tensor:
        """Embedding of these cells: cells x all dimensions, blocks in the order above."""
        return self.encoder(self.mixer(self.states[:, cells]))

    def losses(self, cells: Tensor) -> dict[str, Tensor]:
        """The four terms before weighting; a term without labels is left out."""
        mixture = self.mixer(self.states[:, cells])
        embedding = self.encoder(mixture)
        logits, batch, cycle, _ = embedding.split(self.sizes, dim=1)
        terms = {"reconstruction": mse_loss(self.decoder(embedding), mixture.detach())}
        known = self.cell_type[cells] != UNKNOWN
        if self.sizes[0] and known.any():
            terms["cell_type"] = cross_entropy(logits[known], self.cell_type[cells][known])
        if self.sizes[1]:
            terms["regulariser"] = self._batch_term(batch)
        scored = ~self.cycle[cells].isnan().any(dim=1)
        if self.sizes[2] and scored.any():
            terms["cell_cycle"] = mse_loss(cycle[scored], self.cycle[cells][scored])
        return terms

    def _batch_term(self, block: Tensor) -> Tensor:
        if self.batch_target == "zero":
            return 1e-2 * self.batch_size * block.norm(dim=1).mean()
        return -log_softmax(block, dim=1).mean() - math.log(block.shape[1])

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of the terms."""
        return torch.stack([self.loss_weights[name] * value for name, value in terms.items()]).sum()

    def training_step(self, cells: Tensor, _: int) -> Tensor:
        loss = self.total(self.losses(cells))
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(cells))
        return loss

    def validation_step(self, cells: Tensor, _: int) -> None:
        self.log("validation", self.total(self.losses(cells)), batch_size=len(cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        decayed = [*self.encoder.parameters(), *self.decoder.parameters()]
        groups = [{"params": decayed}, {"params": self.mixer.parameters(), "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
