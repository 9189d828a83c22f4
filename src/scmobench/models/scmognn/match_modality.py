"""scMoGNN for modality matching: propagated states, two encoders, assignment within batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from scmobench.models.matching.assignment import chunks, shared_batches, softmax_sum
from scmobench.models.matching.pair_networks import OnePairOfNetworks
from scmobench.models.scmognn.match_network import MatchModule, MatchSettings
from scmobench.models.scmognn.reduction import COMPONENTS
from scmobench.types import MatchingData


@dataclass(kw_only=True)
class ScMoGNNMatching(MatchSettings, OnePairOfNetworks):
    """Cells of two modalities in one joint space, matched within their batch.

    Each modality is reduced (`reduction.Reduction`) and propagated without parameters on its own
    cell-feature graph (`graph.propagation`). Encoders trained on the paired training cells
    (`match_module.MatchModule`) place both in a joint space. The test cells of a batch are assigned
    one to one by similarity.

    Source: Wen et al., "Graph Neural Networks for Multimodal Single-Cell Data Integration", KDD
    2022. Defaults are its settings for GEX-ADT. Deviations:

    - Validation cells are at most ``validation_share`` of the training cells.
    - The layer weights of the best epoch are restored with the other parameters.
    - The pairing of the test cells plays no part in training.
    """

    components: Mapping[str, int] = field(default_factory=COMPONENTS.copy)
    layers: int = 4  # L of the propagation; layers 2 … L are kept
    propagation: bool = True  # False: the encoders read the reduced matrices themselves
    # LSI and propagation also see the test cells' inputs. False: fit on the training cells only, and
    # propagate training and test cells together at prediction
    transductive: bool = True
    batch_size: int = 4096
    max_epochs: int = 2000
    hard: bool = True  # match one to one; False: `soft_matching`
    partners: int = 50  # of `soft_matching`

    module = MatchModule

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        """One-to-one matching within batches, or the weights of each cell's best partners."""
        if self.hard:
            return super().predict(data)
        batches = data.test_mod1.obs["batch"].to_numpy(), data.test_mod2.obs["batch"].to_numpy()
        return soft_matching(*self.sides(data), *batches, partners=self.partners)

    def similarity(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray] | None:
        """The sides of the similarity; None without ``hard``: an ensemble averages the members' weights."""
        return super().similarity(data) if self.hard else None

    def report(self) -> dict[str, Any]:
        weights = [mixer.rounded() for mixer in self.modules[0].mixers]
        return super().report() | {"layer_weights": dict(zip(("GEX", "other"), weights, strict=True))}


def soft_matching(
    first: np.ndarray, second: np.ndarray, batch1: np.ndarray, batch2: np.ndarray, *, partners: int
) -> sp.csr_matrix:
    """Softmax over rows plus softmax over columns of ``first @ second.T`` within batches.

    The ``partners`` largest weights of each row are kept. Rows x columns, CSR float32.
    """
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rows, columns in shared_batches(batch1, batch2):
        n, left, right = len(rows), first[rows], second[columns]
        weights = softmax_sum(lambda r, c, left=left, right=right: left[r] @ right[c].T, n)
        kept = min(partners, n)
        for part in chunks(n):
            chunk = weights(part, np.arange(n))
            best = np.argpartition(chunk, n - kept, axis=1)[:, n - kept :]
            values = np.take_along_axis(chunk, best, axis=1)
            blocks.append((np.repeat(rows[part], kept), columns[best].ravel(), values.ravel()))
    row, column, value = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return sp.csr_matrix((value.astype(np.float32), (row, column)), shape=(len(first), len(second)))
