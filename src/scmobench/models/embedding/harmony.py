"""Harmony: its correction of any components, and the joint embedding by corrected SVDs."""

from dataclasses import dataclass
from typing import Any, ClassVar

import harmonypy
import numpy as np
import pandas as pd

from scmobench.models.embedding.svd_embedding import SVDEmbedding
from scmobench.types import EmbeddingData

CELLS_A_CLUSTER = 30


def harmonised(
    components: np.ndarray,
    batch: pd.Series,
    *,
    theta: float = 2.0,
    sigma: float = 0.1,
    max_clusters: int = 100,
    max_iterations: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Cells x components after Harmony's correction of the batches, float32; one batch: unchanged.

    Harmony finds soft clusters that are mixed across batches, and moves each cell by the mean of its batch
    in its clusters. Source: Korsunsky et al. 2019, Nature Methods 16:1289, in harmonypy.

    Parameters
    ----------
    components, batch : cells x components, and each cell's batch.
    theta : weight of mixing the batches in a cluster; 0: no mixing.
    sigma : width of the soft clusters.
    max_clusters : at most, and at most a thirtieth of the cells, but at least two.
    max_iterations : rounds of clustering and correction.
    seed : of the clusters' first centres.
    """
    if batch.nunique() < 2:
        return np.asarray(components, dtype=np.float32)
    corrected = harmonypy.run_harmony(
        np.asarray(components).T,  # harmonypy transposes a square matrix unless it is components x cells
        pd.DataFrame({"batch": batch.astype(str).to_numpy()}),
        "batch",
        theta=theta,
        sigma=sigma,
        nclust=int(np.clip(round(len(components) / CELLS_A_CLUSTER), 2, max_clusters)),
        max_iter_harmony=max_iterations,
        random_state=seed,
        ncores=1,  # a sweep runs a method on each core
        verbose=False,
    ).Z_corr
    return np.ascontiguousarray(corrected, dtype=np.float32)


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

    def fit(self, data: EmbeddingData, seed: int) -> "Harmony":
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
