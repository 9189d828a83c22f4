"""Progress of a training for a person at a terminal: epochs, loss, validation score and time left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from scmobench.training.best_epoch import MONITOR


class Epochs(Callback):
    """Tells a bar (`scmobench.machine.terminal.bar`) after each epoch where the training is."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self.tell = tell

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.tell(completed=trainer.current_epoch, total=trainer.max_epochs)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        known: dict[str, Any] = trainer.callback_metrics
        notes = [f"{name} {float(known[name]):.4g}" for name in ("loss", MONITOR) if name in known]
        self.tell(completed=trainer.current_epoch + 1, note=", ".join(notes))
