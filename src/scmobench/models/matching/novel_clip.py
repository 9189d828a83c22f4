"""Contrastive matching: two networks that meet on the unit sphere, one pair for each left-out batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scmobench.models.matching.pair_networks import PairNetworks, scale_of
from scmobench.models.scmognn.match_network import MatchModule, MatchSettings
from scmobench.nn.mlp import Activation
from scmobench.training.validation import LEAST_LEFT, validation_split

MIN_HELD_OUT = 50  # cells of a batch that validates


@dataclass(kw_only=True)
class NovelClip(MatchSettings, PairNetworks):
    """Contrastive learning as in CLIP, between cells of two modalities, then assignment within batch.

    LSI of the normalised values of GEX and ATAC with rows z-scored, ADT as normalised; ELU networks onto the
    unit sphere; symmetric cross-entropy of the similarities times a learned e^τ (`MatchModule` without
    decoders). One model is trained for each training batch that it leaves out and is validated on; the test
    cells' similarities are the mean over the models. This is the matching of scMoGNN without the graph.

    Source: team Novel (Ryazantsev, Russkikh, Rybakov), NeurIPS 2021 competition, submission 169594, and
    its code for the settings (Lance et al. 2022, PMLR 176:162). Deviations:

    - The loss is twice that of the source.
    - The LSI sees the inputs of the left-out batch, too.
    - The assignment uses the softmax over rows + columns, pruned by quantile, as in scMoGNN (the source
      pruned the cosines themselves).
    - With a single training batch, random training cells are held out (``validation_share``).
    """

    normalised: bool = True
    zscore: bool = True
    log_scale: float = 3.463735  # first value of τ
    learn_scale: bool = True
    activation: Activation = "elu"
    gex_hidden: Sequence[int] = (1024, 512)
    gex_dropout: float | Sequence[float] = (0.011, 0.255)
    other_hidden: Sequence[int] = (512, 2048)
    other_dropout: float | Sequence[float] = (0.022, 0.297)
    auxiliary: bool = False
    learning_rate: float = 7.8e-5
    weight_decay: float = 0.0
    batch_size: int = 2048
    max_epochs: int = 7000
    patience: int = 150
    models: int | None = None  # at most so many left-out batches; None: all of them
    quantile: float = 0.99

    module = MatchModule

    def held_out(self, obs: pd.DataFrame, seed: int) -> list[np.ndarray]:
        """One training batch for each model, or random cells of a single batch."""
        _, random_cells = validation_split(obs, "random", self.validation_share, seed)
        batch = obs["batch"].astype(str).to_numpy()
        found, sizes = np.unique(batch, return_counts=True)
        # top-1 accuracy among few cells is noise, and a batch that leaves few others cannot be left out
        names = found[(sizes >= min(MIN_HELD_OUT, len(obs) / 4)) & (sizes <= (1 - LEAST_LEFT) * len(obs))]
        self.by_batch = len(found) > 1 and len(names) > 0
        if not self.by_batch:
            return [random_cells]
        names = np.random.default_rng(seed).permutation(names)[: self.models]
        return [np.flatnonzero(batch == name) for name in names]

    def report(self) -> dict[str, Any]:
        """Also the temperatures that were learned."""
        found = super().report()
        kind = f"{len(self.modules)} left-out batches" if self.by_batch else "random training cells"
        notes = "; ".join(filter(None, [f"validated on {kind}", found["notes"]]))
        return found | {"scale": [round(scale_of(m), 3) for m in self.modules], "notes": notes}
