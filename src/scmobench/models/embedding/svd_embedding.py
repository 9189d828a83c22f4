"""Joint embedding by an SVD of each modality, side by side; or of one modality alone."""

from __future__ import annotations

import numpy as np

from scmobench.data.preprocess import zscore_rows
from scmobench.data.reduce import SVD
from scmobench.models.base import Model
from scmobench.types import EmbeddingData


class SVDEmbedding(Model):
    """Truncated SVD of each modality, rows z-scored, concatenated.

    The competition's label-free winner (Guanlab-dengkw; Lance et al. 2022, PMLR 176:162), with 73
    GEX + 27 ADT or 38 GEX + 62 ATAC components. With 0 components of one modality it is the SVD of the
    other alone, the control that says how much the second modality brings.

    Parameters
    ----------
    mod1_components, mod2_components : of each SVD, at most; 0 leaves the modality out; 100 together.
    zscore : scale each cell's scores of a modality to mean 0 and standard deviation 1.
    transductive : learn the SVD from all cells, as in the competition; else from training cells.
    """

    def __init__(
        self, mod1_components: int, mod2_components: int, zscore: bool = True, transductive: bool = True
    ) -> None:
        if min(mod1_components, mod2_components) < 0 or not 1 <= mod1_components + mod2_components <= 100:
            raise ValueError(
                f"expected 1 to 100 components in all, found {mod1_components} + {mod2_components}"
            )
        self.n_components = (mod1_components, mod2_components)
        self.zscore = zscore
        self.transductive = transductive

    def fit(self, data: EmbeddingData, seed: int) -> SVDEmbedding:
        self.svds = [
            SVD(n, seed).fit(modality.X) if n else None
            for n, modality in zip(self.n_components, (data.mod1, data.mod2), strict=True)
        ]
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        scores = [
            svd.transform(modality.X)
            for svd, modality in zip(self.svds, (data.mod1, data.mod2), strict=True)
            if svd is not None
        ]
        return np.hstack([zscore_rows(part) if self.zscore else part for part in scores])
