"""Plain words for the names of data sets, subtasks and methods."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import OmegaConf

from scmobench.experiment.config import headlines

PAIRS = {"ADT": "CITE-seq", "ATAC": "Multiome"}
LARGE = 2000  # from how many cells on a data set is large


class Dataset(NamedTuple):
    """A data set in words: its label with the number of cells, a short form, and what filters ask.

    ``cells`` is empty where no number is known. ``known``: it is one of the suite's.
    """

    label: str
    short: str
    size: str
    cells: str
    known: bool


def dataset(name: str, rows: pd.DataFrame) -> Dataset:
    """Words for a data set, e.g. ``BMMC CITE-seq, starter (600 cells)``; `` + `` joins names of several.

    ``rows`` are the standings of the data set, which tell its number of cells: the least and the most where
    several have its name.
    """
    names = name.split(" + ")
    told = [_table()["datasets"].get(one) or [one, None, one] for one in names]
    label = " + ".join(", ".join(filter(None, words[:-1])) for words in told)
    cells = rows["n_train"].fillna(0) + rows["n_test"].fillna(0) - rows["n_test_seen"].fillna(0)
    each = sorted({int(n) for n in cells.groupby(rows["data_hash"].fillna("")).max() if n})
    count = " to ".join(f"{n:,}" for n in (each[:1] + each[1:][-1:])) + " cells" if each else ""
    label += f" ({count})" if count else ""
    short = " + ".join(words[-1] for words in told)
    known = {*names} <= _table()["datasets"].keys()
    return Dataset(label, short, "large" if each and each[-1] >= LARGE else "small", count, known)


def cells(name: str) -> str:
    """The data set that has the same cells as this one, with other values; else the name itself."""
    return _table()["same_cells"].get(name, name)


def direction(subtask: str) -> str:
    """A subtask as papers write it: ``GEX→ADT``, ``GEX + ADT``; the mean over subtasks in words."""
    return "mean over all" if subtask == "Overall" else subtask.replace("2", "→").replace("-", " + ")


def pair(subtask: str) -> str:
    """The kind of data that a subtask is of: ``CITE-seq``, ``Multiome``, or empty."""
    return next((words for modality, words in PAIRS.items() if modality in subtask), "")


def gloss(method: str) -> str:
    """What a method of the suite, or an ensemble, is in a few words; empty for others and for ablations."""
    name = method.split(" #")[0]
    last = name.rpartition("+")[2]
    if last.startswith("ensemble_"):
        return headlines("ensemble").get(last.removeprefix("ensemble_"), "")
    return headlines("model").get(name, "")


@cache
def _table() -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("plain_words.yaml")))
