"""The trained part of joint embedding: an autoencoder whose first dimensions each have a meaning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, mse_loss

from scmobench.nn.mixer import LayerWeights
from scmobench.nn.mlp import MLP, skip_network
from scmobench.training.resident import Resident

UNKNOWN = -1  # code of a cell without a cell type


@dataclass(kw_only=True)
class EmbedSettings:
    """Settings of the network, its loss (see `EmbedModule`) and its optimiser."""

    # λ of the terms; 0 leaves the term and its block out
    reconstruction_weight: float = 0.7
    cell_type_weight: float = 0.2
    regulariser_weight: float = 0.05
    cell_cycle_weight: float = 0.05
    batch_target: Literal["zero", "uniform"] = "zero"  # what the batch block is driven to: zero or uniform
    hidden: Sequence[int] = (150, 120, 100)  # blocks of the encoder
    dropout: float = 0.3  # of the encoder
    decoder_hidden: Sequence[int] = (150,)
    skip_connections: bool = False  # JAE's encoder (`skip_network`, ends in a ReLU) instead of an `MLP`
    output_relu: bool = False  # end the decoder in a ReLU, as published, although its target has both signs
    learning_rate: float = 1e-4  # of AdamW
    weight_decay: float = 1e-2  # not of the layer weights


class EmbedModule(Resident):
    r"""Encoder, decoder and layer weights of the embedding head.

    The embedding of a cell is four blocks: logits of the cell types, a batch block that should carry no
    information, the cell-cycle scores, and free dimensions. With :math:`n` cells of a training batch,

    .. math::
        L = \lambda_r\,\mathrm{mse}(\hat X, X) + \lambda_t\,\mathrm{CE}(z_{type})
          + \lambda_b\,10^{-2} \sum_{i \le n} \lVert z_{batch, i} \rVert_2
          + \lambda_c\,\mathrm{mse}(z_{cycle}, [S, G2M]).

    Source: Wen et al., KDD 2022, joint embedding (after the competition's JAE). Deviations: the sum
    over a batch's cells is their mean times the nominal batch size, so that a short batch and the
    validation cells have the same weight; the layer mixture is a constant as the decoder's target; cells
    without a label are left out of that term. With ``batch_target="uniform"`` the third term is JAE's:
    the divergence of the batch block's softmax from equal chances, mean over the cells.

    Parameters
    ----------
    states : layers x cells x features, of all cells that are asked for.
    cell_type : code of each cell's type, `UNKNOWN` if not known.
    cycle : cells x scores, NaN if not known; no columns without scores.
    blocks : dimensions of the blocks ``cell_type``, ``batch``, ``cycle``, ``free``.
    batch_size : nominal, see above.
    """

    def __init__(
        self,
        states: Tensor,
        cell_type: Tensor,
        cycle: Tensor,
        *,
        blocks: Mapping[str, int],
        batch_size: int,
        settings: EmbedSettings,
    ) -> None:
        super().__init__()
        self.settings, self.batch_size = settings, batch_size
        self.set_states(states)
        self.register_buffer("cell_type", cell_type, persistent=False)
        self.register_buffer("cycle", cycle, persistent=False)
        self.sizes = [blocks[name] for name in ("cell_type", "batch", "cycle", "free")]
        width, dimensions = states.shape[2], sum(self.sizes)
        self.mixer = LayerWeights(len(states))
        encoder = skip_network if settings.skip_connections else partial(MLP, batch_norm=True)
        self.encoder = encoder(width, dimensions, settings.hidden, dropout=settings.dropout)
        end = "relu" if settings.output_relu else "none"
        self.decoder = MLP(
            dimensions, width, settings.decoder_hidden, activation="relu", output_activation=end
        )

    def set_states(self, states: Tensor) -> None:
        """Replace the cells: layers x cells x features. They are not saved."""
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
        if self.sizes[0]:
            terms["cell_type"] = type_term(logits, self.cell_type[cells])
        if self.sizes[1]:
            terms["regulariser"] = self._batch_term(batch)
        if self.sizes[2]:
            terms["cell_cycle"] = cycle_term(cycle, self.cycle[cells])
        return {name: value for name, value in terms.items() if value is not None}

    def _batch_term(self, block: Tensor) -> Tensor:
        if self.settings.batch_target == "zero":
            return 1e-2 * self.batch_size * block.norm(dim=1).mean()
        return -log_softmax(block, dim=1).mean() - math.log(block.shape[1])

    def loss(self, cells: Tensor) -> Tensor:
        """Weighted sum of the terms on these cells."""
        weighted = [getattr(self.settings, f"{k}_weight") * term for k, term in self.losses(cells).items()]
        return torch.stack(weighted).sum()

    def validation_step(self, cells: Tensor, _: int) -> None:
        self.log("validation", self.loss(cells), batch_size=len(cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        decayed = [*self.encoder.parameters(), *self.decoder.parameters()]
        groups = [{"params": decayed}, {"params": self.mixer.parameters(), "weight_decay": 0.0}]
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)


def type_term(logits: Tensor, codes: Tensor) -> Tensor | None:
    """Cross-entropy over the cells of known type; None where no type is known, on a GPU 0."""
    known = codes != UNKNOWN
    if logits.is_cuda:  # which never tells the host how many they are
        total = cross_entropy(logits, codes, ignore_index=UNKNOWN, reduction="sum")
        return total / known.sum().clamp(min=1)
    return cross_entropy(logits[known], codes[known]) if known.any() else None


def cycle_term(placed: Tensor, scores: Tensor) -> Tensor | None:
    """Mean squared error over the cells whose scores are all known; None where none are, on a GPU 0."""
    scored = ~scores.isnan().any(dim=1)
    if placed.is_cuda:
        errors = torch.where(scored[:, None], placed - scores, 0.0)
        return errors.square().sum() / (scored.sum() * scores.shape[1]).clamp(min=1)
    return mse_loss(placed[scored], scores[scored]) if scored.any() else None
