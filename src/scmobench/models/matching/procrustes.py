"""Matching by orthogonal Procrustes between two SVDs, and optimal assignment."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.preprocessing import normalize

from scmobench.data.reduce import SVD
from scmobench.models.matching.matcher import SimilarityMatching
from scmobench.types import MatchingData


@dataclass(kw_only=True)
class Procrustes(SimilarityMatching):
    r"""Rotate a cell's mod1 SVD scores onto its mod2 scores; match each to the nearest cells' ones.

    With the centred scores A, B of the training pairs (cells x components, scaled to equal norm), the
    orthogonal matrix that brings them closest (Schönemann 1966, Psychometrika 31:1),

    .. math:: R = \arg\min_{R^\top R = I} \lVert A R - B \rVert_F = U V^\top, \quad U \Sigma V^\top = A^\top B

    from SciPy, then the one-to-one matching within batches. Source: ``baseline_procrustes_knn`` of the
    competition (Luecken et al. 2021). That baseline aligned mod1 with itself (both sides read the same file),
    on rows that were not known to be pairs, and wrote its matrix transposed. Here the rotation is learned
    from the training pairs, and the optimal assignment replaces 100 neighbours.
    """

    n_components: int = 100  # of either SVD, at most; the side with fewer gets columns of zeros
    # subtract the mean of a cell's own `batch`, or of the `train` cells
    center: Literal["batch", "train"] = "batch"
    # compare directions; False: squared distances, which have the same optimal assignment as inner products
    cosine: bool = False

    def fit(self, data: MatchingData, seed: int) -> "Procrustes":
        self.svds = [SVD(self.n_components, seed) for _ in range(2)]
        modalities = (data.train_mod1, data.train_mod2_paired)
        scores = [svd.fit_transform(cells.X) for svd, cells in zip(self.svds, modalities, strict=True)]
        self.means = [side.mean(axis=0) for side in scores]
        batch = data.train_mod1.obs["batch"].astype(str).to_numpy()
        centred = [self._centred(side, batch, place) for place, side in enumerate(scores)]
        self.norms = [float(np.linalg.norm(side)) or 1.0 for side in centred]
        width = max(side.shape[1] for side in centred)
        first, second = (_padded(side / n, width) for side, n in zip(centred, self.norms, strict=True))
        self.rotation, _ = orthogonal_procrustes(first, second)
        return self

    def _centred(self, scores: np.ndarray, batch: np.ndarray, place: int) -> np.ndarray:
        if self.center == "train":
            return scores - self.means[place]
        centred = scores.copy()
        for name in np.unique(batch):
            centred[batch == name] -= centred[batch == name].mean(axis=0)
        return centred

    def sides(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray]:
        """Rotated mod1 scores and mod2 scores, test cells x components, at unit length with ``cosine``."""
        sides = []
        for place, cells in enumerate((data.test_mod1, data.test_mod2)):
            batch = cells.obs["batch"].astype(str).to_numpy()
            scores = self._centred(self.svds[place].transform(cells.X), batch, place)
            sides.append(_padded(scores / self.norms[place], len(self.rotation)))
        sides[0] = sides[0] @ self.rotation
        return tuple(normalize(side) if self.cosine else side for side in sides)

    def report(self) -> dict[str, Any]:
        return {"parameters": self.rotation.size}


def _padded(scores: np.ndarray, width: int) -> np.ndarray:
    """Columns of zeros added up to ``width``."""
    return np.pad(scores, ((0, 0), (0, width - scores.shape[1])))
