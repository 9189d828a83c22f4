"""The best evaluation of a training: its parameters are kept, and training stops when none is better."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

MONITOR = "validation"  # the name under which a module logs its validation score
KEPT = ("best", "best_epoch", "best_state", "stale", "history")


class BestEpoch(Callback):
    """Keeps a copy of all parameters of the best evaluation and stops when none is better.

    The published code kept the layer weights by reference, so that its best parameters were paired
    with the last layer weights. Here every tensor of the state is copied.

    Parameters
    ----------
    mode : ``min`` or ``max``, which validation score is better.
    patience : evaluations without a better one before training stops; None never stops early.
    min_epochs : training does not stop before.
    """

    def __init__(self, mode: str, patience: int | None, min_epochs: int) -> None:
        self.sign, self.patience, self.min_epochs = 1.0 if mode == "min" else -1.0, patience, min_epochs
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_state: dict[str, Tensor] | None = None
        self.stale = 0
        self.history: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        logged = trainer.callback_metrics
        if MONITOR not in logged:
            raise ValueError(
                f"expected the module to log {MONITOR!r} in validation_step, found {sorted(logged)}"
            )
        value = float(logged[MONITOR])
        self.history.append({"epoch": trainer.current_epoch, MONITOR: value})
        if value == value and (self.best is None or self.sign * value < self.sign * self.best):
            self.best, self.best_epoch, self.stale = value, trainer.current_epoch, 0
            self.best_state = {name: value.clone() for name, value in module.state_dict().items()}
            return
        self.stale += 1  # not better, or not a number
        long_enough = trainer.current_epoch + 1 >= self.min_epochs
        if self.patience is not None and self.stale >= self.patience and long_enough:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        kept = {name: getattr(self, name) for name in KEPT}
        return kept | {"rng": torch.get_rng_state(), "cuda_rng": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in KEPT:
            setattr(self, name, state[name])
        # this happens before the loader draws the order of the next epoch's cells
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
