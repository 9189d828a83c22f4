"""scMoGNN for modality matching: propagated states, two encoders, assignment within batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from scmobench.models.base import Model
from scmobench.models.matching.assignment import assign_softmax, chunks, shared_batches, softmax_sum
from scmobench.models.scmognn.match_module import MatchModule, embed_cells, fit_pairs
from scmobench.models.scmognn.match_states import MatchStates, gex_first
from scmobench.training.fit import TrainerSettings
from scmobench.training.limits import at_least, positive
from scmobench.training.validation import validation_split
from scmobench.types import MatchingData


class ScMoGNNMatching(Model):
    """Cells of two modalities in one joint space, matched within their batch.

    Each modality is reduced (`reduction.Reduction`) and propagated without parameters on its own
    cell-feature graph (`graph.propagation`); encoders trained on the paired training cells
    (`match_module.MatchModule`) place both in a joint space; the test cells of a batch are assigned
    one to one by similarity.

    Source: Wen et al., "Graph Neural Networks for Multimodal Single-Cell Data Integration", KDD
    2022. Defaults are its settings for GEX-ADT. Deviations: validation cells are at most
    ``validation_share`` of the training cells; the best epoch's layer weights are restored
    with the other parameters; the test cells' pairing plays no part in training.

    Parameters
    ----------
    components : modality -> LSI components; modalities not named stay as normalised.
    zscore, center_batches : see `reduction.Reduction`.
    layers : L of the propagation; layers 2 … L are kept.
    propagation : False: the encoders read the reduced matrices themselves.
    transductive : LSI and propagation also see the test cells' inputs. False: fit on the training
        cells alone, and propagate training and test cells together at prediction.
    joint_dim, log_scale : dimensions of the joint space and τ.
    gex_hidden, gex_dropout, other_hidden, other_dropout : encoders of GEX and the other modality.
    decoder_hidden, decoder_dropout, auxiliary : decoders and whether they are trained.
    learning_rate, weight_decay, batch_size, max_epochs, patience : of the training.
    validation : ``random`` training cells, or ``batch_separated``: whole training batches.
    validation_share, validation_cells : how many are held out; the smaller of both.
    hard : one-to-one assignment (`assign_softmax` with ``quantile``); False: `soft_matching` with
        ``partners``.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        components: Mapping[str, int] | None = None,
        zscore: bool = False,
        center_batches: bool = False,
        layers: int = 4,
        propagation: bool = True,
        transductive: bool = True,
        joint_dim: int = 64,
        log_scale: float = 2.739896,
        gex_hidden: Sequence[int] = (512, 512),
        gex_dropout: float | Sequence[float] = 0.25,
        other_hidden: Sequence[int] = (512, 512),
        other_dropout: float | Sequence[float] = 0.2,
        decoder_hidden: Sequence[int] = (512,),
        decoder_dropout: float = 0.2,
        auxiliary: bool = True,
        learning_rate: float = 6e-4,
        weight_decay: float = 1e-2,
        batch_size: int = 4096,
        max_epochs: int = 2000,
        patience: int = 20,
        validation: str = "random",
        validation_share: float = 0.15,
        validation_cells: int = 4096,
        hard: bool = True,
        quantile: float = 0.995,
        partners: int = 50,
        trainer: TrainerSettings | None = None,
    ) -> None:
        at_least(1, joint_dim=joint_dim, partners=partners)
        at_least(2, validation_cells=validation_cells)
        at_least(0, weight_decay=weight_decay)
        positive(learning_rate=learning_rate)
        self.components = {"GEX": 256, "ATAC": 512} if components is None else components
        self.scaling = {"zscore": zscore, "center_batches": center_batches}
        self.layers, self.propagation = layers, propagation
        self.transductive = transductive
        self.network = {
            "hidden": (gex_hidden, other_hidden),
            "dropout": (gex_dropout, other_dropout),
            "joint_dim": joint_dim,
            "log_scale": log_scale,
            "decoder_hidden": decoder_hidden,
            "decoder_dropout": decoder_dropout,
            "auxiliary": auxiliary,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
        }
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.validation = {"kind": validation, "share": validation_share, "most": validation_cells}
        self.hard, self.quantile, self.partners, self.trainer = hard, quantile, partners, trainer

    def fit(self, data: MatchingData, seed: int) -> ScMoGNNMatching:
        cells = validation_split(data.train_mod1.obs, seed=seed, **self.validation)
        self.states = MatchStates(
            self.components, self.scaling, layers=self.layers, propagation=self.propagation, seed=seed
        )
        states = self.states.fit_train(data)
        self.module, self.fitted = fit_pairs(
            lambda: MatchModule(states, **self.network),
            *cells,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            seed=seed,
            trainer=self.trainer,
        )
        return self

    def embed(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray, float]:
        """Joint space of the test cells: the similarity of two cells is their dot product times the scale.

        Returns
        -------
        test cells of mod1 x dimensions, test cells of mod2 x dimensions (unit rows), and e^τ.
        """
        joint = embed_cells(self.module, self.states.of_test(data))
        first, second = (joint[place] for place in gex_first(data))
        return first, second, float(self.module.scale)

    def predict(self, data: MatchingData) -> sp.csr_matrix:
        """One-to-one matching within batches, or the weights of each cell's best partners."""
        first, second, scale = self.embed(data)
        batches = data.test_mod1.obs["batch"].to_numpy(), data.test_mod2.obs["batch"].to_numpy()
        if self.hard:
            return assign_softmax((first * scale, second), *batches, quantile=self.quantile)
        return soft_matching(first * scale, second, *batches, partners=self.partners)

    def similarity(self, data: MatchingData) -> tuple[np.ndarray, np.ndarray] | None:
        """Scaled joint space of the first modality and joint space of the second: their product is S.

        None with ``hard`` false: the members' weights are averaged, not assigned.
        """
        if not self.hard:
            return None
        first, second, scale = self.embed(data)
        return first * scale, second

    def report(self) -> dict[str, Any]:
        weights = {
            kind: [round(float(w), 4) for w in mixer.weights().detach()]
            for kind, mixer in zip(("GEX", "other"), self.module.mixers, strict=True)
        }
        return self.fitted.summary(self.module, self.states.notes()) | {"layer_weights": weights}


def soft_matching(
    first: np.ndarray, second: np.ndarray, batch1: np.ndarray, batch2: np.ndarray, *, partners: int
) -> sp.csr_matrix:
    """Softmax over rows plus softmax over columns of ``first @ second.T`` within batches.

    Of each row the ``partners`` largest weights are kept. Rows x columns, CSR float32.
    """
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rows, columns in shared_batches(batch1, batch2):
        n, left, right = len(rows), first[rows], second[columns]
        weights = softmax_sum(lambda r, c, left=left, right=right: left[r] @ right[c].T, n)
        kept = min(partners, n)
        for part in chunks(n):
            chunk = weights(part, np.arange(n))
            best = np.argpartition(chunk, n - kept, axis=1)[:, n - kept :]
            values = np.take_along_axis(chunk, best, axis=1)
            blocks.append((np.repeat(rows[part], kept), columns[best].ravel(), values.ravel()))
    row, column, value = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return sp.csr_matrix((value.astype(np.float32), (row, column)), shape=(len(first), len(second)))
