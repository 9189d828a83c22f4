"""Training as every head does it: Lightning's loop, the best epoch kept, nothing printed or left behind.

A head is a `LightningModule` that logs its validation score under one name; `train` runs it and
puts the parameters of the best evaluation back before it returns.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn

from scmobench.training.forecast import Forecast
from scmobench.training.limits import at_least
from scmobench.training.resume import RESUME_FILE, Checkpoints, Clock, resumable, written_whole

BEST_FILE = "best.ckpt"
RESUMED = "training was interrupted and resumed: seconds are those since"
ACCELERATORS = ("auto", "cpu", "cuda")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainerSettings:
    """What is the same for every head, and says nothing about the method.

    Attributes
    ----------
    accelerator : ``auto`` (CUDA where there is one, else CPU), ``cpu`` or ``cuda``.
    precision : Lightning's flag: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
    progress : show a progress bar.
    logger : folder -> Lightning logger or None; called only where there is a folder.
    folder : where logs and the resume file go. None: nothing is written.
    max_epochs : a ceiling on the head's own number of epochs.
    max_seconds : stop a network's training after this time, not before it was evaluated once; the best
        epoch so far is kept.
    check_val_every_n_epoch : epochs between evaluations. None leaves the choice to the head.
    resume_every_seconds : time between two writes of the resume file.
    checkpoint : keep the parameters of the best epoch in ``folder``: ``best.ckpt``, for `torch.load`, with
        ``state_dict``, ``epoch`` and ``validation``.

    Raises
    ------
    ValueError : another accelerator or precision, CUDA where there is none, half precision without it, or a
        length below 1.
    """

    accelerator: str = "auto"
    precision: str = "32-true"
    progress: bool = False
    logger: Callable[[Path], Logger | None] | None = None
    folder: str | Path | None = None
    max_epochs: int | None = None
    max_seconds: float | None = None
    check_val_every_n_epoch: int | None = None
    resume_every_seconds: float = 60.0
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for name, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            if (found := getattr(self, name)) not in known:
                raise ValueError(f"expected {name} to be one of {known}, found {found!r}")
        if self.accelerator == "cuda" and not torch.cuda.is_available():
            raise ValueError("expected a CUDA device for accelerator=cuda, found none: use auto or cpu")
        if self.precision == "16-mixed" and (self.accelerator == "cpu" or not torch.cuda.is_available()):
            raise ValueError(
                "expected precision=16-mixed on a CUDA device, found the CPU: use bf16-mixed or 32-true"
            )
        at_least(1, max_epochs=self.max_epochs, check_val_every_n_epoch=self.check_val_every_n_epoch)


@dataclass(frozen=True)
class FitReport:
    """How training went: best validation score, its epoch (from 0), epochs run, score of every evaluation,
    device, and whether it was killed and went on from its resume file."""

    best: float | None
    best_epoch: int | None
    epochs: int
    history: list[dict[str, float]] = field(default_factory=list)
    device: str = "cpu"
    resumed: bool = field(default=False, compare=False)

    def summary(self, network: nn.Module, notes: str | Sequence[str] = ()) -> dict[str, Any]:
        """What `Model.report` says of the training of one network."""
        said = [notes] if isinstance(notes, str) else list(notes)
        said.append(resumed([self]))
        return {
            "validation": self.best,
            "parameters": sum(p.numel() for p in network.parameters()),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "device": self.device,
            "notes": "; ".join(note for note in said if note),
        }


def resumed(fits: Sequence[FitReport]) -> str:
    """What a record says where any of these fits was resumed; else nothing."""
    return RESUMED if any(fit.resumed for fit in fits) else ""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers (parameters, dropout, loaders) from ``seed`` inside, and only inside."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Put torch's number of threads back: numba, below scanpy, sets it to all cores (other last digits)."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class BestEpoch(Callback):
    """Keeps a deep copy of all parameters of the best evaluation and stops when none betters it.

    The published code kept the layer weights by reference, so that its best parameters were paired
    with the last layer weights; here every tensor of the state is copied.
    """

    def __init__(self, monitor: str, mode: str, patience: int | None, min_epochs: int):
        self.monitor, self.sign = monitor, 1.0 if mode == "min" else -1.0
        self.patience, self.min_epochs = patience, min_epochs
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_state: dict[str, torch.Tensor] | None = None
        self.stale = 0
        self.history: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"expected the head to log {self.monitor!r} in validation_step, "
                f"found {sorted(trainer.callback_metrics)}"
            )
        value = float(trainer.callback_metrics[self.monitor])
        self.history.append({"epoch": trainer.current_epoch, self.monitor: value})
        if value == value and (self.best is None or self.sign * value < self.sign * self.best):
            self.best, self.best_epoch, self.stale = value, trainer.current_epoch, 0
            self.best_state = copy.deepcopy(module.state_dict())
        else:  # no better, or not a number
            self.stale += 1
            long_enough = trainer.current_epoch + 1 >= self.min_epochs
            if self.patience is not None and self.stale >= self.patience and long_enough:
                trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_epoch", "best_state", "stale", "history")
        return {name: getattr(self, name) for name in names} | {
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("best", "best_epoch", "best_state", "stale", "history"):
            setattr(self, name, state[name])
        # before the loader draws the order of the next epoch's cells
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's remarks on devices, workers and tips; levels and filters are put back."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning", "lightning.pytorch.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    before = [log.level for log in loggers]
    try:
        for log in loggers:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, before, strict=True):
            log.setLevel(level)


def alone() -> LightningEnvironment:
    """One process trains on one device, whatever a scheduler's variables say of its job's other tasks."""
    rank_zero_only.rank = 0  # else the second task of a job would keep no log
    return LightningEnvironment()


def _accelerator(name: str) -> str:
    """``auto`` avoids accelerators other than CUDA: they lack sparse products."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _trainer(
    settings: TrainerSettings, place: Path | None, length: int, evaluate_every: int, callbacks: list[Callback]
) -> Trainer:
    return Trainer(
        accelerator=_accelerator(settings.accelerator),
        devices=1,
        precision=settings.precision,
        plugins=[alone(), Checkpoints()],
        max_epochs=length,
        # a run shorter than the interval is evaluated once, at its end
        check_val_every_n_epoch=min(settings.check_val_every_n_epoch or evaluate_every, length),
        # one bar everywhere: with rich installed Lightning takes rich's, which is silent outside a terminal
        callbacks=[*callbacks, TQDMProgressBar()] if settings.progress else callbacks,
        logger=(settings.logger(place) if settings.logger and place else None) or False,
        default_root_dir=place,
        enable_progress_bar=settings.progress,
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
    monitor: str = "validation",
    mode: str = "min",
    check_val_every_n_epoch: int = 1,
    folder: str | Path | None = None,
) -> FitReport:
    """Train ``module`` in place; leave it in evaluation mode with the parameters of its best evaluation.

    Parameters
    ----------
    train_loader, val_loader : iterables of batches; without ``val_loader`` the last epoch stays.
    max_epochs, min_epochs : bounds on the number of epochs.
    patience : stop after this many evaluations without a better one, not before ``min_epochs``;
        None never stops early.
    monitor, mode : name under which the module logs its validation score; ``min`` or ``max``.
    folder : overrides ``settings.folder``. A run killed in this folder goes on where it was.

    Raises
    ------
    ValueError : unknown ``mode``; a length below 1; the score is not logged, or was never a number.
    """
    if mode not in ("min", "max"):
        raise ValueError(f"expected mode 'min' or 'max', found {mode!r}")
    at_least(1, max_epochs=max_epochs, evaluate_every=check_val_every_n_epoch, patience=patience)
    settings = settings or TrainerSettings()
    place = folder if folder is not None else settings.folder
    place = Path(place) if place is not None else None
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    best = BestEpoch(monitor, mode, patience, min_epochs)
    clock = Clock(place, settings.resume_every_seconds, settings.max_seconds, val_loader is not None)
    resume = resumable(place)
    length = max_epochs if settings.max_epochs is None else min(max_epochs, settings.max_epochs)
    callbacks = [best, clock, Forecast(settings.max_seconds)]
    with quiet():
        trainer = _trainer(settings, place, length, check_val_every_n_epoch, callbacks)
        try:
            trainer.fit(module, train_loader, val_loader, ckpt_path=resume)
        finally:  # else wandb would log the next run of this process into this one
            if finish := getattr(getattr(trainer.logger, "experiment", None), "finish", None):
                finish()
    epochs, device = trainer.current_epoch, trainer.strategy.root_device.type
    module.trainer = None
    module.eval()
    if place is not None:
        (place / RESUME_FILE).unlink(missing_ok=True)
    if val_loader is not None:
        if best.best_state is None:
            raise ValueError(
                f"expected {monitor!r} to be a number at least once in {epochs} epochs: "
                "found none; lower the learning rate or train for longer"
            )
        module.load_state_dict(best.best_state)
    if place is not None and settings.checkpoint:
        kept = {"state_dict": module.state_dict(), "epoch": best.best_epoch, "validation": best.best}
        written_whole(place / BEST_FILE, lambda part: torch.save(kept, part))
    return FitReport(best.best, best.best_epoch, epochs, best.history, device, resume is not None)
