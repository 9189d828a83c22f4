"""Joint embedding by the competition's label-supervised autoencoder: scMoGNN's head without the graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding


@dataclass(kw_only=True)
class JAE(ScMoGNNEmbedding):
    """Autoencoder of both modalities with a block for each of cell type, batch and cell cycle.

    `ScMoGNNEmbedding` without propagation, on an SVD of log(1 + 10⁴ · share of the cell's counts)
    instead of LSI. Its encoder has skip connections and ends in a ReLU (`nn.mlp.SkipBlock`), the decoder has
    the same widths in reverse, and the batch block is driven to equal chances of all batches instead of
    to zero. Source: JAE, team Amateur (Liu et al.), first of the competition's entries with pre-training
    (Lance et al. 2022, PMLR 176:162), and its code. Deviations:

    - Those of `ScMoGNNEmbedding` and `EmbedModule`: inputs are standardised, and a single training batch has
      no batch block. In conf/model also: corrected batches, no ReLU at the end of the decoder, and AdamW.
    - The labels of the training cells replace a separate annotated set. No training on cells without labels
      follows.
    """

    components: Mapping[str, int] = field(default_factory=lambda: {"GEX": 100, "ATAC": 100})
    dropout: float = 0.1
    batch_target: Literal["zero", "uniform"] = "uniform"
    # these make it JAE, and are no settings
    propagation: bool = field(default=False, init=False)
    log_svd: bool = field(default=True, init=False)
    skip_connections: bool = field(default=True, init=False)
    decoder_hidden: Sequence[int] = field(default=(), init=False)  # `hidden` in reverse

    def __post_init__(self) -> None:
        self.decoder_hidden = list(self.hidden)[::-1]
        super().__post_init__()
