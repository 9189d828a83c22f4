"""Training and test cells."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from scmobench.types import Paired, part

MIN_TRAIN = 10
MIN_TEST = 5
INNER_FRACTION = 0.2  # of the training cells, that settings are chosen on


def assign_split(
    obs: pd.DataFrame, test_batches: Sequence[str] | None = None, test_fraction: float = 0.25, seed: int = 0
) -> pd.Series:
    """Training cells (True): all but whole held-out batches, else all but a random share of every cell type.

    A benchmark that tests on cells of a training batch rewards memory of that batch, so batches are the unit
    wherever there are two or more (as in the NeurIPS 2021 competition). Raises ValueError if a named batch
    does not exist, or too few cells are left on either side.

    Parameters
    ----------
    obs : one row a cell; ``batch``, and ``cell_type`` where known.
    test_batches : the batches to hold out. None: the last ones in natural order (s1d2 before s1d10), as many
        as come nearest to ``test_fraction`` of the cells.
    test_fraction : share of test cells, between 0 and 1, where no batch is named.
    seed : of the random split of a single batch.
    """
    batch = obs["batch"].astype(str)
    present = sorted(batch.unique(), key=_natural)
    sizes = batch.value_counts()[present]
    if test_batches is not None:
        test = batch.isin(_existing(test_batches, present)).to_numpy()
    elif len(present) > 1:
        held_out = sizes[::-1].cumsum()[:-1].to_numpy() / len(batch)
        last = 1 + int(np.argmin(np.abs(held_out - test_fraction)))
        test = batch.isin(present[-last:]).to_numpy()
    else:
        test = _random(obs, test_fraction, seed)
    n_test = int(test.sum())
    n_train = len(test) - n_test
    if n_train < MIN_TRAIN or n_test < MIN_TEST:
        others = "Name others ('dataset.test_batches=[…]'), or use" if len(present) > 1 else "Use"
        raise ValueError(
            f"the dataset is too small for its split: {n_train} training and {n_test} test cells, expected "
            f"at least {MIN_TRAIN} and {MIN_TEST}; batches: "
            f"{', '.join(f'{name} ({count} cells)' for name, count in sizes.items())}. {others} more cells"
        )
    return pd.Series(~test, index=obs.index, name="is_train")


def training_cells_split(paired: Paired) -> Paired:
    """The training cells alone, split again by `assign_split`, to choose settings on."""
    train = paired.obs["is_train"].to_numpy(dtype=bool)
    obs = paired.obs[train].copy()
    obs["is_train"] = assign_split(obs, test_fraction=INNER_FRACTION)
    return replace(
        paired,
        mod1=part(paired.mod1, train),
        mod2=part(paired.mod2, train),
        obs=obs,
        protocol="",
        hash=f"{paired.hash}-training-cells-{INNER_FRACTION:g}",
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = [(part.isdecimal(), part.lstrip("0"), part) for part in re.split(r"(\d+)", name) if part]
    return [(0, len(digits), digits) if number else (1, 0, part) for number, digits, part in parts]


def _existing(test_batches: Sequence[str], present: list[str]) -> list[str]:
    wanted = [test_batches] if isinstance(test_batches, str) else [str(b) for b in test_batches]
    missing = [b for b in wanted if b not in present]
    if missing or not wanted:
        message = f"test_batches {missing or wanted} not found; the batches are {present}"
        if not all(isinstance(batch, str) for batch in test_batches):
            quoted = f"\"dataset.test_batches=['{present[-1]}']\""
            message += f"; where a number was read (1_2 is 12), quote it: {quoted}"
        raise ValueError(message)
    return wanted


def _random(obs: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """True for a share of the cells that is nearly the same in every cell type."""
    rng = np.random.default_rng(seed)
    types = obs["cell_type"] if "cell_type" in obs else pd.Series("all", index=obs.index)
    groups = types.astype(str).to_numpy()
    rank = np.empty(len(obs))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        rank[members] = (rng.permutation(len(members)) + rng.random()) / len(members)
    test = np.zeros(len(obs), bool)
    test[np.argsort(rank, kind="stable")[: round(fraction * len(obs))]] = True
    return test
