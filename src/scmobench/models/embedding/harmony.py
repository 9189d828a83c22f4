"""Joint embedding by batch-corrected SVD of both modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scmobench.models.embedding.batch_correction import harmonised
from scmobench.models.embedding.svd_embedding import SVDEmbedding
from scmobench.types import EmbeddingData


@dataclass
class Harmony(SVDEmbedding):
    """SVD of each modality side by side, then Harmony's correction of the batches (`harmonised`).

    Source: Korsunsky et al. 2019, Nature Methods 16:1289, with harmonypy's defaults. The competition's
    starter used mutual nearest neighbours here. Deviation: the components are those of `SVDEmbedding`
    (guanlab-svd) in place of a PCA of genes. It needs batches, not labels, and places all cells at once.
    """

    transductive: ClassVar[bool] = True
    theta: float = 2.0
    sigma: float = 0.1
    max_clusters: int = 100
    max_iterations: int = 10

    def fit(self, data: EmbeddingData, seed: int) -> Harmony:
        self.seed, self.notes = seed, ""
        return super().fit(data, seed)

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x components, float32."""
        batch = data.mod1.obs["batch"]
        if batch.nunique() < 2:
            self.notes = "one batch: nothing to correct"
        names = ("theta", "sigma", "max_clusters", "max_iterations")
        settings = {name: getattr(self, name) for name in names}
        return harmonised(super().predict(data), batch, seed=self.seed, **settings)

    def report(self) -> dict[str, Any]:
        return {"notes": self.notes}
