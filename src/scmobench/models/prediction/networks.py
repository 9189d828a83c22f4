"""Networks from one matrix to another, trained by batches of cells."""

import math
from abc import abstractmethod
from dataclasses import dataclass
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
from scmobench.training.cells import fit_cells
from scmobench.training.fit import FitReport, TrainerSettings
from scmobench.training.resident import Resident
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

    def fit(self, data: PredictionData, seed: int) -> "NetworkRegression":
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
    """A network with its training. The validation score is the RMSE over the held-out cells.

    ``inputs``, ``targets`` : all training cells x features; a step makes its own cells dense.
    """

    def __init__(self, network: nn.Module, settings: Training, inputs: Cells, targets: Cells) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.inputs, self.targets = inputs, targets

    def steps_on_device(
        self, cells: Tensor, size: int, settings: TrainerSettings | None, drop_last: bool
    ) -> DataLoader | None:
        """With dense inputs and targets on the device; None where they do not fit."""
        loader = super().steps_on_device(cells, size, settings, drop_last)
        numbers = math.prod(self.inputs.shape) + math.prod(self.targets.shape)
        if loader is None or not fits_card(numbers, DENSE, "cuda"):
            self.stay()
            return None
        self.inputs, self.targets = _on_card(self.inputs), _on_card(self.targets)
        return loader

    def on_fit_end(self) -> None:
        super().on_fit_end()
        self.inputs = self.targets = None

    def batch(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these cells, dense and on the device."""
        if isinstance(self.inputs, Tensor):
            return self.inputs[cells], self.targets[cells]
        places = cells.cpu().numpy()
        return dense(self.inputs[places]).to(self.device), dense(self.targets[places]).to(self.device)

    def loss(self, cells: Tensor) -> Tensor:
        """What training minimises on these cells."""
        return self.settings.loss(self.network, *self.batch(cells))

    def validation_step(self, cells: Tensor, _: int) -> None:
        errors = []
        for part in cells.split(chunk(self.inputs, self.targets)):
            inputs, targets = self.batch(part)
            error = mse_loss(self.network(inputs), targets)
            errors.append(torch.stack([error * len(part), error.new_tensor(len(part))]))
        error, count = torch.stack(errors).sum(dim=0)
        self.log("validation", math.sqrt(error / count), batch_size=1)

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
    held_out: np.ndarray,
    seed: int,
    part: str | None = None,
) -> FitReport:
    """Train ``network`` in place; the epoch that is best on the held-out cells stays.

    Raises ValueError as `scmobench.training.fit.train`.

    Parameters
    ----------
    inputs, targets : all training cells x features.
    held_out : places of the cells to validate with; the network is trained on all others.
    seed : of the order of the cells and of dropout. Build the network under `seeded` too.
    part : name of this network's subfolder if a method trains several.
    """
    fitted = np.setdiff1d(np.arange(inputs.shape[0]), held_out)
    most = max(LEAST_BATCH, len(fitted) // max(1, settings.min_steps))
    _, report = fit_cells(
        lambda: RegressionModule(network, settings, inputs, targets),
        fitted,
        held_out,
        settings,
        batch_size=min(settings.batch_size, most),
        seed=seed,
        mode="min",
        part=part,
    )
    return report


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
