"""Cross-linked autoencoders: each modality is encoded into the latent spaces of both, and decodes both."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from scmobench.models.matching.matcher import Assignment
from scmobench.models.matching.pair_networks import OnePairOfNetworks
from scmobench.models.scmognn.match_network import PairModule
from scmobench.nn.mlp import MLP
from scmobench.training.rmsprop import RMSprop


class ClueModule(PairModule):
    r"""Encoders e_ij of modality i into the latent space of modality j, and a decoder d_j of each space.

    .. math::
        L = \sum_j \mathrm{mse}(d_j(e_{jj}(x_j)), x_j)
          + w_\times \sum_{i \ne j} \mathrm{mse}(d_j(e_{ij}(x_i)), x_j)
          + w_c \, (1 - \cos(u_1, u_2)), \qquad u_i = [e_{i1}(x_i), e_{i2}(x_i)]

    on paired cells; the cosine is the mean over cells. The joint space of both modalities is that of u.

    ``states``: per modality, 1 x cells x features. They are no part of the saved state.
    """

    def __init__(self, states: Sequence[Tensor], settings: "ClueLike") -> None:
        super().__init__()
        self.set_states(*states)
        self.settings, self.scale, latent = settings, settings.scale, settings.latent_dim
        block = {"dropout": settings.dropout, "activation": "relu", "batch_norm": True}
        widths = [s.shape[2] for s in states]
        self.encoders = nn.ModuleList(
            nn.ModuleList(MLP(width, latent, settings.hidden, **block) for _ in widths) for width in widths
        )
        self.decoders = nn.ModuleList(
            MLP(latent, width, settings.decoder_hidden, **block) for width in widths
        )

    def _latent(self, cells: Tensor | slice, modality: int) -> list[Tensor]:
        states = self.second if modality else self.first
        return [encode(states[0, cells]) for encode in self.encoders[modality]]

    def forward(self, cells: Tensor | slice, modality: int) -> Tensor:
        """u of these cells in modality 0 or 1, at unit length."""
        return normalize(torch.cat(self._latent(cells, modality), dim=1), dim=1)

    def loss(self, cells: Tensor) -> Tensor:
        """L on these paired cells."""
        latent = [self._latent(cells, m) for m in (0, 1)]
        joint = [normalize(torch.cat(parts, dim=1), dim=1) for parts in latent]
        loss = self.settings.align_weight * (1 - (joint[0] * joint[1]).sum(dim=1).mean())
        for j, (states, decode) in enumerate(zip((self.first, self.second), self.decoders, strict=True)):
            target = states[0, cells]
            loss = loss + mse_loss(decode(latent[j][j]), target)
            loss = loss + self.settings.cross_weight * mse_loss(decode(latent[1 - j][j]), target)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return RMSprop(self.parameters(), lr=self.settings.learning_rate)


@dataclass(kw_only=True)
class ClueLike(OnePairOfNetworks):
    """Cross-linked autoencoders, then matching within batch.

    After CLUE (Tu et al. 2022, Cross-Linked Unified Embedding, NeurIPS), which won the competition's
    matching task. Deviations:

    - The autoencoders are plain, with the squared error of reduced and standardised inputs. CLUE's are
      variational, with negative binomial likelihoods of counts.
    - There is no adversary, because the training pairs are aligned by cosine.
    - The inputs of the test cells are not used to fine-tune.
    - The best epoch is the one with the highest top-1 accuracy on held-out training cells.
    - Settings in conf/model: 32 components (CLUE: 100), an alignment weight of 0.7, lower rates, and
      one-to-one assignment instead of shared neighbours, because it scores higher on held-out training cells.
    """

    center_batches: bool = True
    # network, see `ClueModule`
    latent_dim: int = 20
    hidden: Sequence[int] = (512, 512)
    decoder_hidden: Sequence[int] = (128,)
    dropout: float = 0.2
    cross_weight: float = 2.0
    align_weight: float = 1.0
    # training
    learning_rate: float = 2e-3
    batch_size: int = 128
    max_epochs: int = 200
    # answer
    assignment: Assignment = "shared_neighbours"
    scale: float = 20.0  # of the cosines: logits are the cosines times the scale

    module = ClueModule
