"""What a person is told of a fit: where it is, and how long it may take."""

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from scmobench.machine.terminal import duration
from scmobench.training.best_epoch import MONITOR

LONG = 900.0  # seconds that a fit may take without a message
MEASURED = 3.0  # seconds of training that the forecast is based on


def announce(seconds: float, what: str, advice: str) -> None:
    """Print to stderr how long ``what`` may take, if it is more than a quarter of an hour."""
    if seconds > LONG:
        print(f"this may take up to {duration(seconds)}: {what}; {advice}", file=sys.stderr, flush=True)


class Forecast(Callback):
    """Measures the first steps of a training and announces how long all its epochs would take.

    ``limit`` : seconds after which training is stopped anyway; None: no limit.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = float("inf") if limit is None else limit
        self.begun, self.steps, self.said = None, 0, False

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self.said:
            return
        if self.begun is None:  # the first step also warms up
            self.begun = time.monotonic()
            return
        self.steps += 1
        spent = time.monotonic() - self.begun
        if spent >= MEASURED:
            self.said = True
            epoch = spent / self.steps * trainer.num_training_batches
            left = epoch * (trainer.max_epochs - trainer.current_epoch)
            what = f"{trainer.max_epochs} epochs of {epoch:,.1f} s, fewer once validation stops improving"
            advice = "trainer.max_seconds=900 ends it after 15 minutes and keeps the best epoch"
            announce(min(left, self.limit), what, advice)


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
