"""Joint embedding by batch-corrected SVD of both modalities."""

from __future__ import annotations

from typing import Any

import numpy as np

from scmobench.models.base import Model
from scmobench.models.embedding.batch_correction import harmonised
from scmobench.models.embedding.svd_embedding import SVDEmbedding
from scmobench.types import EmbeddingData


class Harmony(Model):
    """SVD of each modality side by side, then Harmony's correction of the batches.

    Source: Korsunsky et al. 2019, Nature Methods 16:1289 (`harmonised`), with harmonypy's
    defaults. The competition's starter used mutual nearest neighbours here.
    Deviation: the components are those of `SVDEmbedding` (guanlab-svd) in place of a PCA of genes.
    It needs batches, not labels, and places all cells at once: transductive.

    Parameters
    ----------
    mod1_components, mod2_components, zscore : of `SVDEmbedding`.
    theta, sigma, max_clusters, max_iterations : of `harmonised`.
    """

    transductive = True

    def __init__(
        self,
        mod1_components: int,
        mod2_components: int,
        *,
        zscore: bool = True,
        theta: float = 2.0,
        sigma: float = 0.1,
        max_clusters: int = 100,
        max_iterations: int = 10,
    ) -> None:
        self.svd = SVDEmbedding(mod1_components, mod2_components, zscore=zscore)
        self.correction = {
            "theta": theta,
            "sigma": sigma,
            "max_clusters": max_clusters,
            "max_iterations": max_iterations,
        }

    def fit(self, data: EmbeddingData, seed: int) -> Harmony:
        self.seed, self.notes = seed, ""
        self.svd.fit(data, seed)
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x components, float32."""
        scores = self.svd.predict(data)
        batch = data.mod1.obs["batch"]
        if batch.nunique() < 2:
            self.notes = "one batch: nothing to correct"
            return scores
        return harmonised(scores, batch, seed=self.seed, **self.correction)

    def report(self) -> dict[str, Any]:
        return {"notes": self.notes}
