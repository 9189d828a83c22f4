"""Sources of paired cells: files, downloads, objects in memory, a simulator."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from anndata import AnnData

from scmobench.data.check import check
from scmobench.data.labels import LABELS, check_filled, tidy_labels
from scmobench.data.split import assign_split
from scmobench.machine.files import path_of, writable
from scmobench.types import Paired


def cache_dir() -> Path:
    """Where downloads are kept: ``$SCMOBENCH_CACHE``, else ``scmobench`` in the user's cache folder."""
    if os.environ.get("SCMOBENCH_CACHE"):
        return path_of(os.environ["SCMOBENCH_CACHE"])
    import pooch

    return Path(pooch.os_cache("scmobench"))


def cache_folder(name: str) -> Path:
    """A folder of the cache to write to."""
    return writable(cache_dir() / name, "set the environment variable SCMOBENCH_CACHE to one that can be")


@dataclass(kw_only=True)
class Source(ABC):
    """A paired data set that can be fetched, read, split into training and test cells, and checked."""

    borrowed: ClassVar[bool] = False  # whether the matrices that `read` gives belong to somebody else
    name: str  # part of every record
    source: str = ""  # where the cells come from, in words; empty takes what the files state
    licence: str = ""  # known terms of use
    organism: str = ""  # ``human`` or ``mouse`` (cell-cycle genes), or empty where unknown
    # see `assign_split`
    test_batches: Sequence[str | int] | None = None
    test_fraction: float = 0.25
    split_seed: int = 0
    # see `check`
    empty_features: Literal["keep", "drop", "error"] = "error"
    empty_cells: Literal["drop", "error"] = "error"

    def fetch(self) -> Path | None:
        """Bring the files to this computer and return their place; None where there are none."""
        return None

    def at_hand(self) -> str:
        """Whether the cells can be read now: ``yes``, or what is to be done first."""
        return "yes"

    @abstractmethod
    def read(self) -> Paired:
        """The cells, split but not yet checked."""

    def load(self) -> Paired:
        """The cells, checked.

        Raises FileNotFoundError if files are missing, and ValueError if the cells are not fit for a
        benchmark; the message says what to change.
        """
        decisions = {"empty_features": self.empty_features, "empty_cells": self.empty_cells}
        return check(self.read(), **decisions, copy=self.borrowed)

    def describe(self, paired: Paired | None = None) -> dict[str, Any]:
        """Sizes, batches, labels and origin; loads the cells unless ``paired`` is given."""
        paired = paired or self.load()
        obs = paired.obs
        tested = obs.loc[~obs["is_train"], "batch"]
        labels = {c: int(obs[c].nunique()) for c in ("cell_type", "phase") if c in obs}
        labels |= {c: int(obs[c].notna().sum()) for c in LABELS if c in obs and c not in labels}
        return {
            "name": paired.name,
            "cells": len(obs),
            "train": int(obs["is_train"].sum()),
            "test": int((~obs["is_train"]).sum()),
            "scored": int(obs["is_scored"].sum()),
            "features": dict(zip(paired.pair, (paired.mod1.n_vars, paired.mod2.n_vars), strict=True)),
            "batches": obs["batch"].value_counts(sort=False).to_dict(),
            "test_batches": sorted(tested.unique()),
            "test_by_batch": tested.astype(str).value_counts().sort_index().to_dict(),
            "labels": labels,
            "normalization": dict(paired.normalization),
            "organism": paired.organism or "not stated",
            "source": paired.source or "not stated",
            "licence": self.licence or "not stated",
            "hash": paired.hash,
        }

    def pair(
        self,
        mod1: AnnData,
        mod2: AnnData,
        obs: pd.DataFrame,
        normalization: Mapping[str, str],
        source: str = "",
    ) -> Paired:
        """Put two modalities and the table of cells together, and split them.

        ``obs`` holds ``batch`` and any of `LABELS`; other columns are left out. Its ``is_train`` is kept
        unless test batches are named; without ``is_scored`` every cell is scored. Raises ValueError without a
        column ``batch``, for cells without a batch, and as `assign_split`.
        """
        if "batch" not in obs:
            raise ValueError(
                f"{self.name}: expected a cell annotation column `batch`, found {list(map(str, obs))}; "
                "name the right one: dataset.batch=COLUMN"
            )
        split = ("is_train",) if self.test_batches is None else ()
        table = tidy_labels(self.name, obs[[c for c in ("batch", *split, "is_scored", *LABELS) if c in obs]])
        check_filled(self.name, table["batch"])  # the split depends on it
        if "is_train" not in table:
            table["is_train"] = assign_split(table, self.test_batches, self.test_fraction, self.split_seed)
        if "is_scored" not in table:
            table["is_scored"] = True
        origin = {"source": self.source or source, "organism": self.organism}
        return Paired(self.name, mod1, mod2, table, dict(normalization), **origin)
