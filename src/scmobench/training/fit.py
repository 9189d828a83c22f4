"""Training as every method does it: Lightning's loop, the best epoch kept, nothing printed or left behind.

A method is a `LightningModule` that logs its score as ``validation``. `train` runs it and restores the
parameters of the best evaluation.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import nn

from scmobench.machine import terminal
from scmobench.machine.files import whole
from scmobench.machine.memory import memory_kept
from scmobench.training.best_epoch import MONITOR, BestEpoch
from scmobench.training.forecast import Epochs, Forecast
from scmobench.training.resume import RESUME_FILE, Checkpoints, Clock, resumable
from scmobench.training.surroundings import alone, quiet

BEST_FILE = "best.ckpt"
RESUMED = "training was interrupted and resumed: seconds are those since"


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of the training loop, which are the same for every method."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"  # auto: CUDA if there is a device, else CPU
    # Lightning's flag: 32-true (float32 throughout), bf16-mixed or 16-mixed; or 16-products: float32, but a
    # GPU's products with the graph's matrix in float16
    precision: Literal["32-true", "16-products", "bf16-mixed", "16-mixed"] = "32-true"
    logger: Callable[[Path], Logger | None] | None = None  # called with the folder, if there is one
    folder: str | Path | None = None  # for logs and the resume file; None: nothing is written
    max_epochs: int | None = None  # a ceiling on the method's own number of epochs
    # stop a network's training after this time, but not before its first evaluation; its best epoch is kept
    max_seconds: float | None = None
    check_val_every_n_epoch: int | None = None  # epochs between evaluations; None: the method's own number
    resume_every_seconds: float = 60.0  # time between two writes of the resume file
    # keep the best epoch in `folder`: best.ckpt, for torch.load, with state_dict, epoch and validation
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.accelerator == "cuda" and not torch.cuda.is_available():
            raise ValueError("expected a CUDA device for accelerator=cuda, found none: use auto or cpu")
        if self.precision.startswith("16") and accelerator(self.accelerator) == "cpu":
            found = f"expected precision={self.precision} on a CUDA device, found the CPU"
            raise ValueError(f"{found}: use bf16-mixed or 32-true")


@dataclass(frozen=True)
class FitReport:
    """How training went."""

    best: float | None  # validation score
    best_epoch: int | None  # counted from 0
    epochs: int  # that were run
    history: list[dict[str, float]] = field(default_factory=list)  # epoch and score of every evaluation
    device: str = "cpu"
    resumed: bool = field(default=False, compare=False)  # training was killed, and continued from its file

    def summary(self, network: nn.Module, notes: Sequence[str] = ()) -> dict[str, Any]:
        """`Model.report` of the training of one network."""
        return averaged_report([network], [self], self.best, notes) | {"best_epoch": self.best_epoch}


def averaged_report(
    networks: Sequence[nn.Module], fits: Sequence[FitReport], validation: float, notes: Sequence[str]
) -> dict[str, Any]:
    """`Model.report` of networks trained one by one: parameters of all, epochs of the longest training."""
    resumed = RESUMED if any(fit.resumed for fit in fits) else ""
    return {
        "validation": validation,
        "parameters": sum(p.numel() for network in networks for p in network.parameters()),
        "epochs": max((fit.epochs for fit in fits), default=0),
        "best_epoch": [fit.best_epoch for fit in fits],
        "device": fits[0].device if fits else "cpu",
        "notes": "; ".join(filter(None, [*notes, resumed])),
    }


def accelerator(name: str) -> str:
    """``auto`` avoids accelerators other than CUDA: they lack sparse products."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _trainer(
    settings: TrainerSettings, length: int, evaluate_every: int, callbacks: list[Callback]
) -> Trainer:
    length = min(length, settings.max_epochs or length)
    place = settings.folder
    return Trainer(
        accelerator=accelerator(settings.accelerator),
        devices=1,
        precision=settings.precision.replace("16-products", "32-true"),
        plugins=[alone(), Checkpoints()],
        max_epochs=length,
        # a run shorter than the interval is evaluated once, at its end
        check_val_every_n_epoch=min(settings.check_val_every_n_epoch or evaluate_every, length),
        callbacks=callbacks,
        logger=(settings.logger(place) if settings.logger and place else None) or False,
        default_root_dir=place,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def train(
    module: LightningModule,
    train_loader: Any,
    val_loader: Any | None,
    *,
    settings: TrainerSettings | None = None,
    max_epochs: int,
    min_epochs: int = 0,
    patience: int | None = None,
    mode: str = "min",
    check_val_every_n_epoch: int = 1,
    folder: str | Path | None = None,
) -> FitReport:
    """Train ``module`` in place; leave it in evaluation mode with the parameters of its best evaluation.

    Raises ValueError if the score is not logged, or is never a number.

    Parameters
    ----------
    train_loader, val_loader : iterables of batches; without ``val_loader`` the last epoch stays.
    max_epochs, min_epochs : bounds on the number of epochs.
    mode, patience : see `BestEpoch`.
    folder : overrides ``settings.folder``. A run that was killed in this folder continues.
    """
    settings = settings or TrainerSettings()
    if (place := folder or settings.folder) is not None:
        Path(place).mkdir(parents=True, exist_ok=True)
        settings = replace(settings, folder=Path(place))
    limit, evaluated = settings.max_seconds, val_loader is not None
    best = BestEpoch(mode, patience, min_epochs)
    clock = Clock(settings.folder, settings.resume_every_seconds, limit, waits=evaluated)
    resume = resumable(settings.folder)
    if resume is not None:
        print("training continues where it was stopped", file=sys.stderr, flush=True)
    with quiet(), memory_kept(), terminal.bar("training", max_epochs, "epochs") as tell:
        callbacks = [best, clock, Forecast(limit), Epochs(tell)]
        trainer = _trainer(settings, max_epochs, check_val_every_n_epoch, callbacks)
        trainer.fit(module, train_loader, val_loader, ckpt_path=resume)
    epochs, device = trainer.current_epoch, trainer.strategy.root_device.type
    module.trainer = None
    _keep_best(module, best, settings, epochs, evaluated)
    return FitReport(best.best, best.best_epoch, epochs, best.history, device, resume is not None)


def _keep_best(
    module: LightningModule, best: BestEpoch, settings: TrainerSettings, epochs: int, evaluated: bool
) -> None:
    """Restore the best parameters, in the folder too if asked for; the resume file is not needed any more."""
    module.eval()
    if settings.folder is not None:
        (settings.folder / RESUME_FILE).unlink(missing_ok=True)
    if evaluated:
        if best.best_state is None:
            raise ValueError(
                f"expected {MONITOR!r} to be a number at least once in {epochs} epochs: "
                "found none; lower the learning rate or train for longer"
            )
        module.load_state_dict(best.best_state)
    if settings.folder is not None and settings.checkpoint:
        kept = {"state_dict": module.state_dict(), "epoch": best.best_epoch, "validation": best.best}
        with whole(settings.folder / BEST_FILE) as part:
            torch.save(kept, part)
