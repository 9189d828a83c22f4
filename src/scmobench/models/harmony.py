"""Joint embedding by batch-corrected SVD of both modalities."""

from __future__ import annotations

from typing import Any

import numpy as np

from scmobench.models.base import Model
from scmobench.models.extras import load
from scmobench.models.svd_embedding import SVDEmbedding
from scmobench.types import EmbeddingData


class Harmony(Model):
    """SVD of each modality side by side, then Harmony's correction of the batches.

    Soft clusters that are mixed across batches are found, and each cell moves by what its clusters
    say of its batch. Source: Korsunsky et al. 2019, Nature Methods 16:1289; the correction is
    harmonypy's with its defaults. The competition's starter used mutual nearest neighbours here.
    Deviation: the components are those of `SVDEmbedding` (guanlab-svd) in place of a PCA of genes.
    It needs batches, not labels, and places all cells at once: transductive.

    Parameters
    ----------
    mod1_components, mod2_components, zscore : of `SVDEmbedding`.
    theta : weight of mixing the batches in a cluster; 0 corrects nothing.
    sigma : width of the soft clusters.
    max_clusters : at most; a thirtieth of the cells where that is less, at least two.
    max_iterations : rounds of clustering and correction.
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
        self.theta, self.sigma = theta, sigma
        self.max_clusters, self.max_iterations = max_clusters, max_iterations

    def fit(self, data: EmbeddingData, seed: int) -> Harmony:
        self.harmonypy = load("harmonypy", "rivals")
        self.seed, self.notes = seed, ""
        self.svd.fit(data, seed)
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x components, float32."""
        scores = self.svd.predict(data)
        batch = data.mod1.obs[["batch"]].astype(str)
        if batch["batch"].nunique() < 2:
            self.notes = "one batch: nothing to correct"
            return scores
        corrected = self.harmonypy.run_harmony(
            scores,
            batch,
            "batch",
            theta=self.theta,
            sigma=self.sigma,
            nclust=int(np.clip(round(len(scores) / 30), 2, self.max_clusters)),
            max_iter_harmony=self.max_iterations,
            random_state=self.seed,
            ncores=1,  # a sweep runs a method on each core
            verbose=False,
        ).Z_corr
        return np.ascontiguousarray(corrected, dtype=np.float32)

    def report(self) -> dict[str, Any]:
        return {"notes": self.notes}
