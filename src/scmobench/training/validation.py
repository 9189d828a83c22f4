"""Which training cells validate a model while it trains."""

from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["random", "batch_separated"]
LEAST_LEFT = 0.25  # share of the training cells that whole batches held out must leave


def validation_cells(obs: pd.DataFrame, kind: Kind, share: float, seed: int, least: int = 1) -> np.ndarray:
    """Indices of the held-out training cells, ascending.

    Parameters
    ----------
    obs : training cells, with a column ``batch``.
    kind : ``random`` draws a share of the cells. ``batch_separated`` draws whole batches, in random
        order, until they hold that share; it skips a batch that would leave less than a quarter of the
        cells to train on. Test cells come from other batches, so the second kind is the more honest one.
    share : of the training cells.
    least : fewer held-out cells than this are an error.
    """
    if len(obs) < 2:
        raise ValueError(f"expected at least 2 training cells to hold one out, found {len(obs)}")
    rng = np.random.default_rng(seed)
    if kind == "random":
        size = min(max(1, round(share * len(obs))), len(obs) - 1)
        return np.sort(rng.permutation(len(obs))[:size])
    batch = obs["batch"].astype(str)
    sizes = batch.value_counts().sort_index()
    if len(sizes) < 2:
        raise ValueError(
            f"expected at least 2 training batches to hold one out, found {list(sizes.index)}: use `random`"
        )
    held: list[str] = []
    for name in rng.permutation(sizes.index.to_numpy()):
        if sizes[[*held, name]].sum() <= (1 - LEAST_LEFT) * len(batch):
            held.append(name)
        if sizes[held].sum() >= share * len(batch):
            break
    cells = np.flatnonzero(batch.isin(held))
    if len(cells) < least:
        raise ValueError(
            f"expected training batches to hold out with at least {least} cells, found {len(cells)} in "
            f"{held or 'none small enough'}: use `random`"
        )
    return cells


def validation_split(
    obs: pd.DataFrame, kind: Kind, share: float, seed: int, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Training cells to fit on, and at least two others (at most ``most``) to validate with; ascending.

    The other parameters and errors are those of `validation_cells`; fewer than four training cells are an
    error too.
    """
    n = len(obs)
    if n < 4:
        raise ValueError(f"expected at least 4 training cells, found {n}")
    share = max(min(share, n if most is None else most / n), 2 / n)
    held_out = validation_cells(obs, kind, share, seed, least=2)
    return np.setdiff1d(np.arange(n), held_out), held_out


def held_out_cells(obs: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, str]:
    """Hold out whole batches if there are at least 3, else random cells; also returns a note on them."""
    batches = obs["batch"].astype(str).nunique()
    kind = "batch_separated" if batches >= 3 else "random"
    cells = validation_cells(obs, kind, share, seed)
    if kind == "random":
        return cells, f"validated on {len(cells)} random training cells (training batches: {batches})"
    names = ", ".join(sorted(set(obs["batch"].astype(str).to_numpy()[cells])))
    return cells, f"validated on {len(cells)} training cells of {names}"
