"""scMoGNN for joint embedding: propagated states of both modalities, an autoencoder with named blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from scmobench.graph.propagation import standardised
from scmobench.models.base import Model
from scmobench.models.scmognn.embed_module import UNKNOWN, EmbedModule
from scmobench.models.scmognn.reduction import Reduction, layer_states
from scmobench.training.fit import TrainerSettings, seeded, train
from scmobench.training.limits import at_least, positive
from scmobench.training.validation import validation_split
from scmobench.types import EmbeddingData

MAX_DIMENSIONS = 100
CYCLE_SCORES = ("S_score", "G2M_score")
CHUNK = 8192


class ScMoGNNEmbedding(Model):
    """All cells in one space: propagated states of both modalities through a supervised autoencoder.

    Both modalities are reduced and their batches brought together (`Reduction`), put side by side,
    standardised and propagated without parameters (`graph.propagation`); `EmbedModule` is trained on the
    training cells and their labels. The embedding is the encoder's whole output, in this order: cell-type
    logits (as many as training types), batch block (as many as training batches), two cell-cycle
    scores, free dimensions. A block without labels or weight is left out, and so is the batch block of a
    single batch.

    Source: Wen et al., KDD 2022. Defaults are its settings for GEX-ADT. Deviations: centring by batch and
    Harmony are not in the source (off by default, on in conf/model); the published
    decoder's last ReLU is off by default (its target has both signs); the best epoch's layer weights
    are restored with the other parameters; only labels of training cells are seen; a single training batch
    has no batch block (published: one dimension driven to zero); without any
    label term there are ``free_unsupervised`` free dimensions instead of ``free``.

    Parameters
    ----------
    components : modality -> LSI components; modalities not named stay as normalised.
    zscore, center_batches, log_svd, harmony_theta : see `Reduction`.
    layers, first_layer : L of the propagation; layers ``first_layer`` … L are kept and mixed. 2 is
        published; 1 keeps the standardised inputs themselves as well (a deviation).
    propagation : False: the encoder reads the standardised inputs themselves.
    graph : ``joint``: one graph with the features of both modalities (the paper). ``separate``:
        each modality is propagated on its own graph (the maintained port).
    transductive : LSI and propagation also see test cells at training. False: fit on the training
        cells alone, and propagate all cells together at prediction; ``harmony_theta`` corrects them anew
        then, so that the encoder reads other values of the training cells than it was fitted to.
    reconstruction_weight, cell_type_weight, regulariser_weight, cell_cycle_weight : λ of the
        terms; 0 leaves the term and its block out. With both label terms 0 the method is not
        label-supervised and is handed no labels; nor is it where the data have no labels for them.
    batch_target, skip_connections : see `EmbedModule`.
    free, free_unsupervised : free dimensions with and without labels to learn from.
    hidden, dropout, decoder_hidden, output_relu : encoder and decoder.
    learning_rate, weight_decay, batch_size, max_epochs, patience : of the training.
    validation, validation_share : ``random`` training cells, or whole training batches
        (``batch_separated``), and how many.
    trainer : device, precision, logging.
    """

    def __init__(
        self,
        *,
        components: Mapping[str, int] | None = None,
        zscore: bool = False,
        center_batches: bool = False,
        log_svd: bool = False,
        harmony_theta: float = 0.0,
        layers: int = 3,
        first_layer: int = 2,
        propagation: bool = True,
        graph: str = "joint",
        transductive: bool = True,
        reconstruction_weight: float = 0.7,
        cell_type_weight: float = 0.2,
        regulariser_weight: float = 0.05,
        batch_target: str = "zero",
        cell_cycle_weight: float = 0.05,
        free: int = 5,
        free_unsupervised: int = 32,
        hidden: Sequence[int] = (150, 120, 100),
        skip_connections: bool = False,
        dropout: float = 0.3,
        decoder_hidden: Sequence[int] = (150,),
        output_relu: bool = False,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-2,
        batch_size: int = 512,
        max_epochs: int = 60,
        patience: int = 10,
        validation: str = "random",
        validation_share: float = 0.1,
        trainer: TrainerSettings | None = None,
    ) -> None:
        if graph not in ("joint", "separate"):
            raise ValueError(f"expected graph 'joint' or 'separate', found {graph!r}")
        at_least(2, batch_size=batch_size)  # the networks normalise over a step's cells
        at_least(0, free=free, free_unsupervised=free_unsupervised, weight_decay=weight_decay)
        at_least(0, reconstruction_weight=reconstruction_weight, cell_type_weight=cell_type_weight)
        at_least(0, regulariser_weight=regulariser_weight, cell_cycle_weight=cell_cycle_weight)
        positive(learning_rate=learning_rate)
        self.components = {"GEX": 256, "ATAC": 512} if components is None else components
        self.scaling = {
            "zscore": zscore,
            "center_batches": center_batches,
            "log_svd": log_svd,
            "harmony_theta": harmony_theta,
        }
        self.layers, self.first_layer = layers, first_layer
        self.propagation, self.graph = propagation, graph
        self.transductive = transductive
        self.label_supervised = cell_type_weight > 0 or cell_cycle_weight > 0
        self.weights = {
            "reconstruction": reconstruction_weight,
            "cell_type": cell_type_weight,
            "regulariser": regulariser_weight,
            "cell_cycle": cell_cycle_weight,
        }
        self.free, self.free_unsupervised = free, free_unsupervised
        self.network = {
            "hidden": hidden,
            "skip_connections": skip_connections,
            "dropout": dropout,
            "decoder_hidden": decoder_hidden,
            "output_relu": output_relu,
            "batch_target": batch_target,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
        }
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.validation = {"kind": validation, "share": validation_share}
        self.trainer = trainer

    def fit(self, data: EmbeddingData, seed: int) -> ScMoGNNEmbedding:
        self.notes: list[str] = []
        self.reductions = [
            Reduction(self.components, seed=seed, **self.scaling).fit(modality)
            for modality in (data.mod1, data.mod2)
        ]
        is_train = data.mod1.obs["is_train"].to_numpy(dtype=bool)
        cells = data.mod1.obs_names[is_train]
        states = torch.from_numpy(self._states(data)[:, is_train])
        types, cell_type = self._cell_types(data.labels, cells)
        cycle = self._cycle_scores(data.labels, cells)
        n_batches = self._batches(data.mod1.obs["batch"][is_train])
        self.label_supervised = bool(types or cycle.shape[1])  # as the record says it: what was learned from
        free = self.free if self.label_supervised else self.free_unsupervised
        self.blocks = {"cell_type": types, "batch": n_batches, "cycle": cycle.shape[1], "free": free}
        if sum(self.blocks.values()) > MAX_DIMENSIONS:
            raise ValueError(
                f"expected at most {MAX_DIMENSIONS} dimensions, found {self.blocks}: lower `free`, "
                "or drop the batch block with regulariser_weight=0"
            )
        split = validation_split(data.mod1.obs[is_train], seed=seed, **self.validation)
        fitted, held_out = map(torch.from_numpy, split)
        size = min(self.batch_size, len(fitted))
        with seeded(seed):
            self.module = EmbedModule(
                states,
                cell_type,
                cycle,
                blocks=self.blocks,
                weights=self.weights,
                batch_size=size,
                **self.network,
            )
            # one cell alone has no batch statistics
            batches = BatchSampler(RandomSampler(fitted), size, drop_last=len(fitted) % size == 1)
            self.fitted = train(
                self.module,
                DataLoader(fitted, sampler=batches, batch_size=None),
                DataLoader([held_out], batch_size=None),
                settings=self.trainer,
                max_epochs=self.max_epochs,
                patience=self.patience,
                mode="min",
            )
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x all blocks (see the class), float32."""
        states = torch.from_numpy(self._states(data))
        self.module.cpu().eval().set_states(states)
        with torch.inference_mode():
            rows = range(0, states.shape[1], CHUNK)
            return torch.cat([self.module(slice(a, a + CHUNK)) for a in rows]).numpy()

    def report(self) -> dict[str, Any]:
        notes = [*self.notes, *(note for r in self.reductions for note in r.notes)]
        weights = [round(float(w), 4) for w in self.module.mixer.weights().detach()]
        return self.fitted.summary(self.module, notes) | {"blocks": self.blocks, "layer_weights": weights}

    def _states(self, data: EmbeddingData) -> np.ndarray:
        """Layers x all cells x features of both modalities."""
        reduced = [r.transform(m) for r, m in zip(self.reductions, (data.mod1, data.mod2), strict=True)]
        if self.graph == "joint":
            reduced = [standardised(np.hstack(reduced))]
        kept = self.layers, self.propagation, self.first_layer
        return np.concatenate([layer_states(r, *kept) for r in reduced], axis=2)

    def _cell_types(self, labels: pd.DataFrame | None, cells: pd.Index) -> tuple[int, torch.Tensor]:
        """Number of training types and each training cell's code."""
        if self.weights["cell_type"] <= 0:
            return 0, torch.full((len(cells),), UNKNOWN)
        if labels is None or "cell_type" not in labels:
            self.notes.append("no cell types: their term and block are dropped")
            return 0, torch.full((len(cells),), UNKNOWN)
        known = labels["cell_type"].reindex(cells).astype("string")
        codes, types = pd.factorize(known, sort=True)
        return len(types), torch.from_numpy(codes.astype(np.int64))

    def _batches(self, batch: pd.Series) -> int:
        """Dimensions of the batch block: one a training batch, none for a batch alone."""
        if self.weights["regulariser"] <= 0:
            return 0
        if batch.nunique() < 2:
            self.notes.append("one training batch: the batch block and its term are dropped")
            return 0
        return batch.nunique()

    def _cycle_scores(self, labels: pd.DataFrame | None, cells: pd.Index) -> torch.Tensor:
        """Training cells x (S, G2M), or no columns where either is unknown."""
        if self.weights["cell_cycle"] <= 0:
            return torch.empty((len(cells), 0))
        if labels is None or not set(CYCLE_SCORES) <= set(labels):
            self.notes.append("no S_score and G2M_score: their term and block are dropped")
            return torch.empty((len(cells), 0))
        scores = labels[list(CYCLE_SCORES)].reindex(cells).to_numpy(dtype=np.float32)
        return torch.from_numpy(scores)
