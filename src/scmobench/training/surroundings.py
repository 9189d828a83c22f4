"""What a training changes in its process, and puts back: random numbers, threads, messages, ranks."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning", "lightning.pytorch.utilities.rank_zero")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers (parameters, dropout, order of cells) from ``seed``, here only."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def numpy_seed_kept() -> Iterator[None]:
    """Put the state of numpy's global generator back after the block."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Restore torch's number of threads: numba, below scanpy, sets it to all cores (other last digits)."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's remarks on devices, workers and tips; restore levels and filters."""
    before = {logging.getLogger(name): logging.getLogger(name).level for name in LOGGERS}
    try:
        for log in before:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in before.items():
            log.setLevel(level)


def alone() -> LightningEnvironment:
    """One process trains on one device, whatever a scheduler's variables say about other tasks of its job."""
    rank_zero_only.rank = 0  # otherwise the second task of a job would keep no log
    return LightningEnvironment()
