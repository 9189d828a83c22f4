"""The trained part of modality matching: two encoders that meet in a joint space, and their losses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from scmobench.nn.mixer import LayerWeights
from scmobench.nn.mlp import MLP, Activation
from scmobench.training.resident import Resident


@dataclass(kw_only=True)
class MatchSettings:
    """Settings of the networks and their optimiser."""

    joint_dim: int = 64  # dimensions of the joint space
    log_scale: float = 2.739896  # τ, see `MatchModule`
    learn_scale: bool = False  # τ is a parameter, and starts there
    activation: Activation = "gelu"  # of the encoders' hidden blocks, see `MLP`
    gex_hidden: Sequence[int] = (512, 512)  # encoder of GEX
    gex_dropout: float | Sequence[float] = 0.25
    other_hidden: Sequence[int] = (512, 512)  # encoder of the other modality
    other_dropout: float | Sequence[float] = 0.2
    decoder_hidden: Sequence[int] = (512,)
    decoder_dropout: float = 0.2
    auxiliary: bool = True  # train with the decoding terms
    learning_rate: float = 6e-4  # of AdamW
    weight_decay: float = 1e-2


class PairModule(Resident):
    """A network that places the cells of both modalities in one space, and keeps their states.

    Its call, with numbers of cells and a modality, gives embeddings of unit length. The cosines of these are
    multiplied by its ``scale``.
    """

    def set_states(self, first: Tensor, second: Tensor) -> None:
        """Replace the cells: layers x cells x features of each modality."""
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)

    def validation_step(self, cells: Tensor, _: int) -> None:
        accuracy = top1(self(cells, 0) @ self(cells, 1).T)
        self.log("validation", accuracy, batch_size=len(cells))


class MatchModule(PairModule):
    r"""Encoders, decoders and layer weights of the matching head.

    With the layer mixtures :math:`X_1, X_2` of the same cells and unit-length embeddings
    :math:`\hat H_m = e_m(X_m) / \lVert e_m(X_m) \rVert`,

    .. math::
        S = \hat H_1 \hat H_2^\top e^\tau, \qquad
        L = -\tfrac1n \sum_i (\log P^r_{ii} + \log P^c_{ii})
            + \sum_m [\mathrm{mse}(d_m(\hat H_m), X_m) + \mathrm{mse}(d_m(\hat H_{m'}), X_m)],

    where :math:`P^r, P^c` are the softmax of S over rows and columns and :math:`m'` is the other
    modality. The last two terms are the auxiliary ones.

    Source: Wen et al., KDD 2022, modality matching. :math:`\tau` is a constant as in its code, or learned
    as in the contrastive entry that it is based on (`models.matching.novel_clip`).
    Deviation: the mixtures are constants as targets of the decoders, so that the layer weights
    do not move to the layer that is easiest to reconstruct.

    ``states``: per modality, layers x cells x features, of all cells that are asked for. They are not saved.
    """

    def __init__(self, states: Sequence[Tensor], settings: MatchSettings) -> None:
        super().__init__()
        self.settings = settings
        self.set_states(*states)
        self.mixers = nn.ModuleList(LayerWeights(len(s)) for s in states)
        widths, size = [s.shape[2] for s in states], settings.joint_dim
        hidden = (settings.gex_hidden, settings.other_hidden)
        dropout = (settings.gex_dropout, settings.other_dropout)
        self.encoders = nn.ModuleList(
            MLP(width, size, sizes, dropout=rate, activation=settings.activation)
            for width, sizes, rate in zip(widths, hidden, dropout, strict=True)
        )
        self.decoders = nn.ModuleList(
            MLP(size, width, settings.decoder_hidden, dropout=settings.decoder_dropout)
            for width in widths
            if settings.auxiliary
        )
        scale = float(settings.log_scale)
        self.log_scale = nn.Parameter(torch.tensor(scale)) if settings.learn_scale else scale

    @property
    def scale(self) -> Tensor | float:
        """e^τ."""
        return math.exp(self.log_scale) if isinstance(self.log_scale, float) else self.log_scale.exp()

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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=decay, fused=True)


def match_loss(similarity: Tensor) -> Tensor:
    """Mean over cells of −log P of the true partner, by rows plus by columns; the diagonal is true."""
    partner = torch.arange(len(similarity), device=similarity.device)
    return cross_entropy(similarity, partner) + cross_entropy(similarity.T, partner)


def top1(similarity: Tensor) -> Tensor:
    """Share of cells whose most similar partner is the true one, mean of both directions."""
    partner = torch.arange(len(similarity), device=similarity.device)
    rows = (similarity.argmax(dim=1) == partner).float().mean()
    return (rows + (similarity.argmax(dim=0) == partner).float().mean()) / 2
