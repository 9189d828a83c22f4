"""Training of a module that holds the states of all cells: a batch is the numbers of its cells."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from scmobench.training.fit import FitReport, train
from scmobench.training.resident import Resident, on_host
from scmobench.training.surroundings import seeded

CHUNK = 8192
Module = TypeVar("Module", bound=Resident)


def fit_cells(
    build: Callable[[], Module],
    fitted: np.ndarray,
    held_out: np.ndarray,
    settings: Any,
    *,
    batch_size: int,
    seed: int,
    mode: str,
    drop_last: bool = False,
    part: str | None = None,
) -> tuple[Module, FitReport]:
    """A module trained on batches of cells, with the parameters of its best epoch.

    Parameters
    ----------
    build : makes the module, which logs a ``validation`` score.
    fitted, held_out : places of the cells to train on and of those to validate with.
    settings : an object with `max_epochs`, `patience` and `trainer`, which is a `TrainerSettings` or None.
    batch_size : at most the number of cells.
    seed : of parameters, order of cells and dropout.
    mode : ``min`` or ``max``, which score is better.
    drop_last : leave out an incomplete last batch; a last batch of one cell is always left out.
    part : name of this module's subfolder if a method trains several.
    """
    cells, checks, trainer = torch.from_numpy(fitted), torch.from_numpy(held_out), settings.trainer
    size = min(batch_size, len(cells))
    drop_last = drop_last or len(cells) % size == 1  # one cell alone has no batch statistics
    with seeded(seed):
        module = build()
        batches = BatchSampler(RandomSampler(cells), size, drop_last)
        steps = module.steps_on_device(cells, size, trainer, drop_last) or on_host(
            module, DataLoader(cells, sampler=batches, batch_size=None), trainer
        )
        report = train(
            module,
            steps,
            DataLoader([checks], batch_size=None),
            settings=trainer,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            mode=mode,
            folder=Path(trainer.folder) / part if part and trainer and trainer.folder else None,
        )
    return module, report


def in_chunks(module: Callable[..., Tensor], cells: int, *more: Any) -> np.ndarray:
    """``module(slice, *more)`` for the first ``cells`` cells, some thousand at a time: cells x dimensions."""
    with torch.inference_mode():
        parts = [module(slice(a, a + CHUNK), *more) for a in range(0, cells, CHUNK)]
    return torch.cat(parts).numpy()
