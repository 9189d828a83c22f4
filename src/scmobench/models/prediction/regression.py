"""Training of a network from one matrix to another by batches of cells, as the neural rivals do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from scmobench.training.fit import FitReport, TrainerSettings, seeded, train

Cells = np.ndarray | sp.csr_matrix
CHUNK_BYTES = 1 << 28  # of cells made dense at once outside of training


class Rows(Dataset):
    """Cells of input and target, made dense a batch at a time; an item is a batch of cells.

    Parameters
    ----------
    inputs, targets : cells x features, dense or CSR, the same cells.
    cells : places of those to draw from. None: all.
    """

    def __init__(self, inputs: Cells, targets: Cells, cells: np.ndarray | None = None) -> None:
        if inputs.shape[0] != targets.shape[0]:
            raise ValueError(f"expected the same cells, found {inputs.shape[0]} and {targets.shape[0]}")
        self.inputs, self.targets = inputs, targets
        self.cells = np.arange(inputs.shape[0]) if cells is None else np.asarray(cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        cells = self.cells[np.asarray(places)]
        return dense(self.inputs[cells]), dense(self.targets[cells])


class RegressionModule(LightningModule):
    """A network trained on squared error; its validation score is the RMSE over the held-out cells.

    Parameters
    ----------
    network : inputs x features → targets x features.
    loss : ``mse``, or ``rmse`` (its root over the batch, which takes steps of equal size).
    learning_rate, weight_decay : of Adam (L2 penalty).
    decoupled : decay the parameters themselves instead (AdamW).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str = "mse",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__()
        if loss not in ("mse", "rmse"):
            raise ValueError(f"expected loss 'mse' or 'rmse', found {loss!r}")
        self.network, self.loss, self.decoupled = network, loss, decoupled
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.errors: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        inputs, targets = batch
        loss = (mse_loss if self.loss == "mse" else rmse)(self.network(inputs), targets)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        inputs, targets = batch
        error = mse_loss(self.network(inputs), targets)
        self.errors.append(torch.stack([error * len(inputs), error.new_tensor(len(inputs))]))

    def on_validation_epoch_end(self) -> None:
        error, cells = torch.stack(self.errors).sum(dim=0)
        self.errors.clear()
        self.log("validation", math.sqrt(error / cells))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        adam = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


def rmse(predicted: Tensor, target: Tensor) -> Tensor:
    """Root mean squared error over all entries, cells x features; its gradient is 0 where all errors are 0.

    By norms, of each cell's errors and of these norms, since `torch.sqrt` rounds otherwise on another
    processor (see `scmobench.machine.arithmetic`). One norm over everything would lose digits of a large
    batch.
    """
    cells = torch.linalg.vector_norm(predicted - target, dim=-1)
    return torch.linalg.vector_norm(cells) / math.sqrt(predicted.numel())


def fit_network(
    network: nn.Module,
    inputs: Cells,
    targets: Cells,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    loss: str = "mse",
    **training: Any,
) -> FitReport:
    """Train ``network`` in place as a `RegressionModule`; ``training`` as of `fit_module`."""
    module = RegressionModule(
        network, loss=loss, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled
    )
    return fit_module(module, inputs, targets, **training)


def fit_module(
    module: RegressionModule,
    inputs: Cells,
    targets: Cells,
    *,
    fitted: np.ndarray,
    held_out: np.ndarray | None,
    seed: int,
    batch_size: int,
    max_epochs: int,
    patience: int | None = None,
    settings: TrainerSettings | None = None,
    part: str | None = None,
) -> FitReport:
    """Train ``module`` in place; with held-out cells its best epoch stays, else its last.

    Parameters
    ----------
    inputs, targets : all training cells x features.
    fitted, held_out : places of the cells to train on and of those to validate with.
    seed : of the order of the cells and of dropout; build the network under `seeded` too.
    part : name of this network's subfolder where a method trains several.

    Raises
    ------
    ValueError : as `scmobench.training.fit.train`.
    """
    rows = Rows(inputs, targets, fitted)
    size = min(batch_size, len(rows))
    # one cell alone has no batch statistics
    batches = BatchSampler(RandomSampler(rows), size, drop_last=len(rows) % size == 1)
    loader = DataLoader(rows, sampler=batches, batch_size=None)
    checks = None
    if held_out is not None:
        kept = Rows(inputs, targets, held_out)
        checks = DataLoader(
            kept,
            sampler=BatchSampler(SequentialSampler(kept), chunk(inputs, targets), False),
            batch_size=None,
        )
    folder = None
    if settings is not None and settings.folder is not None and part is not None:
        folder = Path(settings.folder) / part
    with seeded(seed):
        return train(
            module,
            loader,
            checks,
            settings=settings,
            max_epochs=max_epochs,
            patience=patience,
            folder=folder,
        )


def capped_batch(batch_size: int, cells: int, steps: int) -> int:
    """Batch size as published, or what gives an epoch of few cells ``steps`` steps (8 cells at least)."""
    return min(batch_size, max(8, cells // max(1, steps)))


def apply_network(network: nn.Module, inputs: Cells) -> np.ndarray:
    """Output of a trained network for all cells: cells x targets, float32."""
    network.cpu().eval()
    step = chunk(inputs)
    with torch.inference_mode():
        parts = [network(dense(inputs[a : a + step])).numpy() for a in range(0, inputs.shape[0], step)]
    return np.concatenate(parts)


def chunk(*matrices: Cells) -> int:
    """Cells whose dense float32 rows take `CHUNK_BYTES` together, at least 64."""
    return max(64, CHUNK_BYTES // (4 * sum(m.shape[1] for m in matrices)))


def dense(cells: Cells) -> Tensor:
    """A batch as a float32 tensor."""
    values = cells.toarray() if sp.issparse(cells) else cells
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
