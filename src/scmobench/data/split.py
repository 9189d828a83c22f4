"""Which cells a model may learn from, and which it is tested on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from scmobench.types import Paired

MIN_TRAIN = 10
MIN_TEST = 5


def assign_split(
    obs: pd.DataFrame,
    test_batches: Sequence[str] | None = None,
    test_fraction: float = 0.25,
    seed: int = 0,
) -> pd.Series:
    """Hold out whole batches where there are several, else a random share of every cell type.

    A benchmark that tests on cells of a batch seen in training rewards memory of that batch, so
    batches are the unit wherever there are two or more (as in the NeurIPS 2021 competition).

    Parameters
    ----------
    obs : one row a cell; ``batch``, and ``cell_type`` where known.
    test_batches : the batches to hold out. None: the last ones in natural order (s1d2 before
        s1d10), as many as come nearest to ``test_fraction`` of the cells.
    test_fraction : share of test cells, between 0 and 1, where no batch is named.
    seed : of the random split, used only where there is a single batch.

    Returns
    -------
    One bool a cell, named ``is_train``.

    Raises
    ------
    ValueError : a named batch does not exist, the fraction is out of range, or too few cells
        are left on either side.
    """
    batch = obs["batch"].astype(str)
    present = sorted(batch.unique(), key=_natural)
    if test_batches is not None:
        test = batch.isin(_existing(test_batches, present))
    elif not 0 < test_fraction < 1:
        raise ValueError(f"expected test_fraction between 0 and 1, found {test_fraction}")
    elif len(present) > 1:
        test = batch.isin(_last(batch, present, test_fraction))
    else:
        test = pd.Series(_random(obs, test_fraction, seed), index=obs.index)
    n_test = int(test.sum())
    n_train = len(test) - n_test
    if n_train < MIN_TRAIN or n_test < MIN_TEST:
        others = "Name others ('dataset.test_batches=[…]'), or use" if len(present) > 1 else "Use"
        raise ValueError(
            f"the dataset is too small for its split: {n_train} training and {n_test} test cells, expected "
            f"at least {MIN_TRAIN} and {MIN_TEST}; batches: {_sizes(batch, present)}. {others} more cells"
        )
    return (~test).rename("is_train")


def training_cells_split(paired: Paired, fraction: float = 0.2) -> Paired:
    """The training cells alone, split again as `assign_split` does: what settings are chosen on.

    Whole batches are held out where the training cells have several, else a random share. The test
    cells are not in it.
    """
    train = paired.obs["is_train"].to_numpy(dtype=bool)
    obs = paired.obs[train].copy()
    obs["is_train"] = assign_split(obs, test_fraction=fraction)
    return replace(
        paired,
        mod1=paired.mod1[train].copy(),
        mod2=paired.mod2[train].copy(),
        obs=obs,
        protocol="",
        hash=f"{paired.hash}-training-cells-{fraction:g}",
    )


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _sizes(batch: pd.Series, present: list[str]) -> str:
    counts = batch.value_counts()
    return ", ".join(f"{b} ({counts[b]} cells)" for b in present)


def _existing(test_batches: Sequence[str], present: list[str]) -> list[str]:
    wanted = [test_batches] if isinstance(test_batches, str) else [str(b) for b in test_batches]
    missing = [b for b in wanted if b not in present]
    if missing or not wanted:
        told = f"test_batches {missing or wanted} not found; the batches are {present}"
        if not all(isinstance(batch, str) for batch in test_batches):
            told += (
                f"; where a number was read (1_2 is 12), quote it: \"dataset.test_batches=['{present[-1]}']\""
            )
        raise ValueError(told)
    return wanted


def _last(batch: pd.Series, present: list[str], fraction: float) -> list[str]:
    sizes = batch.value_counts()[present].to_numpy()
    held_out = np.cumsum(sizes[::-1])[:-1] / len(batch)
    return present[len(present) - 1 - int(np.argmin(np.abs(held_out - fraction))) :]


def _random(obs: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    test = np.zeros(len(obs), bool)
    types = obs["cell_type"] if "cell_type" in obs else pd.Series("all", index=obs.index)
    groups = types.astype(str).to_numpy()
    rank = np.empty(len(obs))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        rank[members] = (rng.permutation(len(members)) + rng.random()) / len(members)
    test[np.argsort(rank, kind="stable")[: round(fraction * len(obs))]] = True
    return test
