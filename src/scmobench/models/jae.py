"""Joint embedding by the competition's label-supervised autoencoder: scMoGNN's head without the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding


class JAE(ScMoGNNEmbedding):
    """Autoencoder of both modalities whose first dimensions name cell type, batch and cell cycle.

    `ScMoGNNEmbedding` without propagation, on an SVD of log(1 + 10⁴ · share of the cell's counts)
    instead of LSI, and with the batch block driven to call every batch equally likely instead of to
    zero. Source: JAE, team Amateur (Liu et al.), first of the competition's entries with pre-training
    (Lance et al. 2022, PMLR 176:162). Deviations: those of `ScMoGNNEmbedding` and `EmbedModule`, which it
    shares (batch correction of the inputs, GELU, batch normalisation and dropout in the encoder,
    standardised inputs, AdamW); the training cells' labels take the place of a separate annotated set, and
    there is no further training on cells without labels.

    Parameters
    ----------
    components : modality -> SVD components; a modality not named (ADT) stays as normalised.
    settings : the others of `ScMoGNNEmbedding`.
    """

    def __init__(self, *, components: Mapping[str, int] | None = None, **settings: Any) -> None:
        fixed = {"propagation": False, "log_svd": True}
        if set(settings) & set(fixed):
            raise ValueError(f"JAE sets {sorted(fixed)} itself: for other values take ScMoGNNEmbedding")
        components = {"GEX": 100, "ATAC": 100} if components is None else components
        super().__init__(components=components, **{"batch_target": "uniform", **settings, **fixed})
