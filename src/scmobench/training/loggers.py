"""Destinations of a training log: the choices of ``conf/logger``."""

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger

from scmobench.training.resume import RESUME_FILE


def csv_logger(folder: Path) -> Logger:
    """``metrics.csv`` in the run's folder; the file of a killed run that continues is kept beside it."""
    before = folder / "metrics.csv"
    if before.is_file() and (folder / RESUME_FILE).is_file():
        part = sum(1 for _ in folder.glob("metrics.before-*.csv"))
        before.replace(folder / f"metrics.before-{part}.csv")
    return CSVLogger(folder, name="", version="")


def no_logger(folder: Path) -> None:
    """Log nothing."""
