"""Joint embedding by the competition's label-supervised autoencoder: scMoGNN's losses without the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding


class JAE(ScMoGNNEmbedding):
    """Autoencoder of both modalities whose first dimensions name cell type, batch and cell cycle.

    `ScMoGNNEmbedding` without propagation, on an SVD of log(1 + 10⁴ · share of the cell's counts)
    instead of LSI. Its encoder has skip connections and ends in a ReLU (`nn.mlp.SkipBlock`), the decoder has
    the same widths in reverse, and the batch block is driven to call every batch equally likely instead of
    to zero. Source: JAE, team Amateur (Liu et al.), first of the competition's entries with pre-training
    (Lance et al. 2022, PMLR 176:162), and its code. Deviations: those of `ScMoGNNEmbedding` and
    `EmbedModule`, which it shares (standardised inputs; a single training batch has no batch block; in
    conf/model also corrected batches, no ReLU at the decoder's end, and AdamW); the training cells' labels
    take the place of a separate annotated set, and there is no further training on cells without labels.

    Parameters
    ----------
    components : modality -> SVD components; a modality not named (ADT) stays as normalised.
    settings : the others of `ScMoGNNEmbedding`; ``decoder_hidden`` follows ``hidden``.
    """

    def __init__(self, *, components: Mapping[str, int] | None = None, **settings: Any) -> None:
        settings = {"hidden": (150, 120, 100), "dropout": 0.1, "batch_target": "uniform", **settings}
        fixed = {"propagation": False, "log_svd": True, "skip_connections": True, "decoder_hidden": None}
        if set(settings) & set(fixed):
            raise ValueError(f"JAE sets {sorted(fixed)} itself: for other values take ScMoGNNEmbedding")
        fixed["decoder_hidden"] = list(settings["hidden"])[::-1]
        components = {"GEX": 100, "ATAC": 100} if components is None else components
        super().__init__(components=components, **settings, **fixed)
