"""Networks from one matrix to another, trained by batches of cells."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.utils import gen_batches
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from scmobench.models.base import Model
from scmobench.nn.dense import fits_card
from scmobench.training.fit import FitReport, TrainerSettings, train
from scmobench.training.resident import Resident, on_device
from scmobench.training.surroundings import seeded
from scmobench.training.validation import held_out_cells
from scmobench.types import PredictionData

Cells = np.ndarray | sp.csr_matrix
DENSE = torch.float32
CHUNK_BYTES = 1 << 28  # of cells made dense at once outside of training
LEAST_BATCH = 8  # cells that ``min_steps`` leaves in a batch


@dataclass(kw_only=True)
class Training:
    """Settings of a network's training. Models that train networks inherit them."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decoupled: bool = False  # True: the decay is AdamW's, False: Adam's L2 penalty
    batch_size: int = 512
    min_steps: int = 1  # of an epoch: few cells are trained in smaller batches
    max_epochs: int = 100
    patience: int | None = None  # epochs without a better one before training stops
    trainer: TrainerSettings | None = None

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch of cells."""
        return mse_loss(network(inputs), targets)


@dataclass(kw_only=True)
class NetworkRegression(Training, Model):
    """Predicts mod2 by a network on mod1. The epoch that is best on held-out training cells is kept."""

    validation_share: float = 0.15  # of the training cells, see `held_out_cells`

    @abstractmethod
    def build(self, inputs: Cells, targets: Cells) -> nn.Module:
        """The untrained network for all training cells' inputs and targets (cells x features)."""

    def prepare(self, data: PredictionData, fitted: np.ndarray, seed: int) -> None:
        """Set up `inputs`. ``fitted``: places of the training cells that are not held out."""

    def inputs(self, cells: AnnData) -> Cells:
        """What the network reads of these cells of mod1: cells x inputs."""
        return cells.X

    def fit(self, data: PredictionData, seed: int) -> NetworkRegression:
        cells, targets = data.train_mod1, data.train_mod2.X
        held_out, note = held_out_cells(cells.obs, self.validation_share, seed)
        self.notes = [note]
        self.prepare(data, np.setdiff1d(np.arange(cells.n_obs), held_out), seed)
        inputs = self.inputs(cells)
        with seeded(seed):
            self.network = self.build(inputs, targets)
        self.fitted = fit_network(self.network, inputs, targets, self, held_out=held_out, seed=seed)
        return self

    def predict(self, data: PredictionData) -> np.ndarray:
        return apply_network(self.network, self.inputs(data.test_mod1))

    def report(self) -> dict[str, Any]:
        return self.fitted.summary(self.network, self.notes)


class RegressionModule(Resident):
    """A network with its training. The validation score is the RMSE over the held-out cells."""

    def __init__(self, network: nn.Module, settings: Training) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.errors: list[Tensor] = []

    def steps_on_device(
        self, inputs: Cells, targets: Cells, cells: np.ndarray, size: int, drop_last: bool
    ) -> DataLoader | None:
        """`on_device` of these cells, with dense inputs and targets there; None where they do not fit."""
        given = torch.from_numpy(cells), size
        loader = on_device(self, *given, settings=self.settings.trainer, drop_last=drop_last)
        if loader is None or not fits_card(math.prod(inputs.shape) + math.prod(targets.shape), DENSE, "cuda"):
            self.stay()
            return None
        self.register_buffer("inputs", _on_card(inputs), persistent=False)
        self.register_buffer("targets", _on_card(targets), persistent=False)
        return loader

    def on_fit_end(self) -> None:
        super().on_fit_end()
        self.inputs = self.targets = None

    def loss(self, cells: Tensor) -> Tensor:
        """What training minimises on these cells, all on the device."""
        return self.settings.loss(self.network, self.inputs[cells], self.targets[cells])

    def loss_on_host(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        return self.settings.loss(self.network, *batch), len(batch[0])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        inputs, targets = batch
        error = mse_loss(self.network(inputs), targets)
        self.errors.append(torch.stack([error * len(inputs), error.new_tensor(len(inputs))]))

    def on_validation_epoch_end(self) -> None:
        error, cells = torch.stack(self.errors).sum(dim=0)
        self.errors.clear()
        self.log("validation", math.sqrt(error / cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        adam = torch.optim.AdamW if self.settings.decoupled else torch.optim.Adam
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return adam(self.parameters(), lr=rate, weight_decay=decay, fused=True)


def rmse(predicted: Tensor, target: Tensor) -> Tensor:
    """Root mean squared error over all entries, cells x features. Its gradient is 0 if all errors are 0.

    It is the norm of the norms of each cell's errors. `torch.sqrt` would round differently on another
    processor (see `scmobench.machine.arithmetic`), and one norm over everything would lose digits of a large
    batch.
    """
    cells = torch.linalg.vector_norm(predicted - target, dim=-1)
    return torch.linalg.vector_norm(cells) / math.sqrt(predicted.numel())


def fit_network(
    network: nn.Module,
    inputs: Cells,
    targets: Cells,
    settings: Training,
    *,
    held_out: np.ndarray | None,
    seed: int,
    part: str | None = None,
) -> FitReport:
    """Train ``network`` in place. With held-out cells the best epoch stays, else the last.

    Parameters
    ----------
    inputs, targets : all training cells x features.
    held_out : places of the cells to validate with; the network is trained on all others.
    seed : of the order of the cells and of dropout. Build the network under `seeded` too.
    part : name of this network's subfolder if a method trains several.

    Raises
    ------
    ValueError : inputs and targets of different cells; else as `scmobench.training.fit.train`.
    """
    if inputs.shape[0] != targets.shape[0]:
        raise ValueError(f"expected the same cells, found {inputs.shape[0]} and {targets.shape[0]}")
    fitted = np.arange(inputs.shape[0])
    checks = None
    if held_out is not None:
        fitted = np.setdiff1d(fitted, held_out)
        checks = _loader(inputs, targets, held_out, chunk(inputs, targets))
    most = max(LEAST_BATCH, len(fitted) // max(1, settings.min_steps))
    size = min(settings.batch_size, most, len(fitted))
    drop = len(fitted) % size == 1  # one cell alone has no batch statistics
    folder = settings.trainer.folder if settings.trainer and part else None
    with seeded(seed):
        module = RegressionModule(network, settings)
        return train(
            module,
            module.steps_on_device(inputs, targets, fitted, size, drop)
            or _loader(inputs, targets, fitted, size, shuffle=True, drop_last=drop),
            checks,
            settings=settings.trainer,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            folder=Path(folder) / part if folder else None,
        )


def _loader(inputs: Cells, targets: Cells, cells: np.ndarray, size: int, **order: bool) -> DataLoader:
    """Batches of these cells, made dense one batch at a time."""

    def batch(places: list[int]) -> tuple[Tensor, Tensor]:
        return dense(inputs[places]), dense(targets[places])

    return DataLoader(cells.tolist(), size, collate_fn=batch, **order)


def _on_card(cells: Cells) -> Tensor:
    """All cells dense on the GPU, a chunk at a time."""
    values = torch.empty(cells.shape, dtype=DENSE, device="cuda")
    step = chunk(cells)
    for a in range(0, len(values), step):
        values[a : a + step] = dense(cells[a : a + step])
    return values


def apply_network(network: nn.Module, inputs: Cells) -> np.ndarray:
    """Output of a trained network for all cells: cells x targets, float32."""
    network.cpu().eval()
    parts = gen_batches(inputs.shape[0], chunk(inputs))
    with torch.inference_mode():
        return np.concatenate([network(dense(inputs[part])).numpy() for part in parts])


def chunk(*matrices: Cells) -> int:
    """Cells whose dense float32 rows take `CHUNK_BYTES` together, at least 64."""
    return max(64, CHUNK_BYTES // (4 * sum(m.shape[1] for m in matrices)))


def dense(cells: Cells) -> Tensor:
    """A batch as a float32 tensor."""
    values = cells.toarray() if sp.issparse(cells) else cells
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
