"""Training that continues where it was killed, from a file that is written whole or not at all.

The file holds tensors and plain containers only, and is read as such: no code of a file runs.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from scmobench.machine.files import whole

RESUME_FILE = "resume.ckpt"
VERSION = version("scmobench")


class Clock(Callback):
    """Stops at a time limit and writes the resume file at intervals.

    Parameters
    ----------
    folder : for the resume file; None writes none.
    every_seconds : time between two writes.
    max_seconds : the limit; the time before a kill counts.
    waits : the limit does not apply before a first evaluation.
    """

    def __init__(self, folder: Path | None, every_seconds: float, max_seconds: float | None, waits: bool):
        self.folder, self.every, self.limit, self.waits = folder, every_seconds, max_seconds, waits
        self.started = self.saved = time.monotonic()
        self.told = False  # that the file cannot be written

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.waits = False

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        now = time.monotonic()
        if self.limit is not None and now - self.started > self.limit and not self.waits:
            trainer.should_stop = True
        if self.folder is not None and now - self.saved >= self.every:
            try:
                with whole(self.folder / RESUME_FILE) as part:
                    trainer.save_checkpoint(part)
            except OSError as error:  # e.g. a full disk, which need not end the training
                if not self.told:
                    print(f"{error}; training goes on", file=sys.stderr, flush=True)
                self.told = True
            self.saved = time.monotonic()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            kept = resumable(self.folder)
            start = f"goes on after epoch {_read(kept)['epoch'] + 1}" if kept else "starts anew"
            told = f"interrupted in epoch {trainer.current_epoch + 1}; the same command {start}"
            print(f"{told} (state is kept every {self.every:g} s)", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.started
        return {"version": VERSION, "seconds": seconds, "waits": self.waits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self.waits = time.monotonic() - state["seconds"], state["waits"]


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoints(TorchCheckpointIO):
    """Reads the resume file for Lightning, which would otherwise unpickle it."""

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return _read(path)


def resumable(folder: Path | None) -> Path | None:
    """The resume file in ``folder``, or None.

    A file is deleted if it cannot be read or if another version of the package wrote it.
    """
    if folder is None or not (path := folder / RESUME_FILE).is_file():
        return None
    try:
        found = _read(path)["callbacks"]["Clock"]["version"]
    except Exception as error:  # a damaged file can raise anything
        found = f"no checkpoint ({type(error).__name__})"
    if found == VERSION:
        return path
    print(f"{path}: found {found}, training starts anew", file=sys.stderr)
    path.unlink()
    return None
