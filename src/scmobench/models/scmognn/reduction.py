"""From a modality to the states that the matching and embedding heads read: reduce, then propagate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.reduce import LSI
from scmobench.graph.propagation import propagate, standardised
from scmobench.models.embedding.batch_correction import harmonised
from scmobench.types import feature_type


class Reduction:
    """A modality's reduced matrix: LSI of raw counts for GEX and ATAC, ADT as it is normalised.

    Source: Wen et al., KDD 2022, matching and joint embedding. Deviation: where a modality has no
    raw counts, the LSI is made from its normalised values, and with ``normalised`` from its counts where the
    values go below 0 (`notes` says so).

    Parameters
    ----------
    n_components : modality -> LSI components, at most what the training cells allow. A modality
        that is not named stays as it is normalised.
    normalised : make the LSI of the normalised values, as the competition's matching winner did.
    zscore : scale each cell's components, see `LSI`; takes the cell's depth out.
    center_batches : subtract from each component its mean over the cells of the batch, which is known in
        both modalities: takes out what shifts a whole batch. Not in the source.
    harmony_theta : weight of Harmony's correction of the batches (`harmonised`); 0: none. It is of the
        cells at hand: with test cells beside them the training cells move as well. Not in the source.
    log_svd : no TF-IDF and no dropped component, as JAE (see `LSI`).
    seed : of the SVD.
    """

    def __init__(
        self,
        n_components: Mapping[str, int],
        *,
        normalised: bool = False,
        zscore: bool = False,
        center_batches: bool = False,
        log_svd: bool = False,
        harmony_theta: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.n_components, self.normalised, self.zscore, self.seed = n_components, normalised, zscore, seed
        if harmony_theta < 0:
            raise ValueError(f"expected harmony_theta of at least 0 (no correction), found {harmony_theta}")
        self.center_batches, self.log_svd, self.harmony_theta = center_batches, log_svd, harmony_theta
        self.lsi: LSI | None = None
        self.notes: list[str] = []

    def fit(self, *modalities: AnnData) -> Reduction:
        """Learn from the cells of all ``modalities``, which are the same modality."""
        kind = feature_type(modalities[0])
        if kind in self.n_components:
            there = all("counts" in modality.layers for modality in modalities)
            if self.normalised and there and min(modality.X.min() for modality in modalities) < 0:
                self.notes.append(f"LSI of raw counts of {kind}: normalised values go below 0")
                self.normalised = False
            if not self.normalised and not there:
                self.notes.append(f"LSI of normalised {kind}: there are no raw counts")
                self.normalised = True
            values = sp.vstack([self._values(modality) for modality in modalities], format="csr")
            full = not self.log_svd
            self.lsi = LSI(
                int(self.n_components[kind]), full, seed=self.seed, weighted=full, zscore=self.zscore
            ).fit(values)
        return self

    def transform(self, *modalities: AnnData) -> np.ndarray:
        """Cells of all ``modalities`` one under the other x components, float32."""
        rows = [self._reduced(modality) for modality in modalities]
        reduced = np.concatenate(rows).astype(np.float32, copy=False)
        batch = pd.concat([modality.obs["batch"].astype(str) for modality in modalities])
        if self.center_batches:
            for name in batch.unique():
                here = (batch == name).to_numpy()
                reduced[here] -= reduced[here].mean(axis=0)
        if self.harmony_theta > 0:
            reduced = harmonised(reduced, batch, theta=self.harmony_theta, seed=self.seed)
        return reduced

    def _reduced(self, modality: AnnData) -> np.ndarray:
        if self.lsi:
            return self.lsi.transform(self._values(modality))
        return modality.X.toarray() if sp.issparse(modality.X) else np.asarray(modality.X)

    def _values(self, modality: AnnData) -> sp.csr_matrix:
        return sp.csr_matrix(modality.X if self.normalised else modality.layers["counts"])


def layer_states(reduced: np.ndarray, layers: int, propagation: bool, first: int = 2) -> np.ndarray:
    """Layers x cells x components: the propagated states from layer ``first`` on, or the matrix itself.

    The matrix itself is shifted and scaled as a whole to mean 0 and standard deviation 1, as
    the propagated states are, so that the ablation differs in the graph alone.
    """
    return propagate(reduced, layers, first=first) if propagation else standardised(reduced)[None]
