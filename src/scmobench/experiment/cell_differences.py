"""How much the difference of two methods' scores varies over cells. The paired test needs it.

A run's folder holds the scores of its test cells. Kept records have no such folder. Beside them,
``paired.csv`` holds the variance over cells of the difference of each two methods on the same cells. A
method's score of a cell is its mean over the runs whose cells are at hand.
"""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from scmobench.experiment.config import digest
from scmobench.experiment.records import CELLS, RECORD
from scmobench.machine import files
from scmobench.machine.terminal import visible

FILE = "paired.csv"
COLUMNS = ["cells", "dataset", "subtask", "method", "runs", "variances"]
UNKNOWN = "-"


def same_cells(record: Mapping[str, Any]) -> str:
    """A digest of what two runs share whose scores can be compared cell by cell."""
    names = ("task", "dataset", "subtask", "data_hash", "normalization", "protocol")
    return digest([*(record.get(name) for name in names), (record.get("config") or {}).get("task")])


def runs_of_method(runs: Sequence[Mapping[str, Any]]) -> str:
    """A digest of a method's runs: another seed, configuration or prediction gives another one."""
    return digest([runs[0]["method"], *sorted([str(r["seed"]), r.get("prediction_hash")] for r in runs)])


def variances(methods: Sequence[Sequence[Any]]) -> np.ndarray:
    """Variance over test cells of the difference of each two methods, methods x methods; NaN if unknown.

    ``methods`` are the runs of each method, records as `scmobench.experiment.kept.read` gives them. Of others
    no cells are known. A damaged file of cells is named on the error output and left out. Raises ValueError
    for a damaged file of pairs.
    """
    found = np.full((len(methods), len(methods)), np.nan)
    cells = {i: mean for i, runs in enumerate(methods) if (mean := _mean_cells(runs)) is not None}
    for i, own in cells.items():
        found[i, list(cells)] = (np.array(list(cells.values())) - own).var(axis=1, ddof=1)
    places = {_place(run) for runs in methods for run in runs}
    folders = sorted({place.parent for place in places if place and place.name != RECORD})
    tables = [table for folder in folders if (table := folder / FILE).is_file()]
    known = {pair: v for path in tables for pair, v in _table(path, path.stat().st_mtime_ns).items()}
    if known:
        names = [(same_cells(runs[0]), runs_of_method(runs)) for runs in methods]
        for i, j in zip(*np.nonzero(np.isnan(found)), strict=True):
            found[i, j] = known.get(frozenset((names[i], names[j])), np.nan)
    return found


def write(path: Path, kept: Iterable[Any], runs: Iterable[Any]) -> None:
    """Keep the variances of all pairs of methods whose cells are at hand, or that were kept before.

    Controls are left out: no test needs them. The file is removed where no pair is known. ``path`` lies
    beside the records ``kept``, from `scmobench.experiment.kept.read`. ``runs`` are records that may have
    their cells beside them. They are found by method, seed and prediction.
    """
    where = {_prediction(run): place for run in runs if (place := _place(run)) and place.name == RECORD}
    for record in kept:
        record.where = where.get(_prediction(record), record.where)
    runs = [r for r in kept if r["status"] == "ok" and r.get("kind") != "control"]
    method = lambda r: (r["dataset"], r["subtask"], same_cells(r), r["method"], r["config_hash"])  # noqa: E731
    rows = []
    for (dataset, subtask, cells), group in groupby(sorted(runs, key=method), key=lambda r: method(r)[:3]):
        methods = [list(own) for _, own in groupby(group, key=method)]
        found = variances(methods)
        known = [i for i in range(len(methods)) if np.isfinite(np.delete(found[i], i)).any()]
        for place, i in enumerate(known):
            earlier = [UNKNOWN if np.isnan(v) else f"{v:.4g}" for v in found[i, known[:place]]]
            name = methods[i][0]["method"]
            rows.append([cells, dataset, subtask, name, runs_of_method(methods[i]), " ".join(earlier)])
    if not rows:
        path.unlink(missing_ok=True)
        return
    with files.whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _prediction(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """A key that two records of one prediction share. Older records have no hash: each has its own key."""
    return same_cells(run), run["method"], run["seed"], run.get("prediction_hash") or id(run)


def _place(run: Any) -> Path | None:
    """The file that a record was read from."""
    return getattr(run, "where", None)


def _mean_cells(runs: Sequence[Any]) -> np.ndarray | None:
    """Mean of the scores of each cell over the runs that have them; None if none has."""
    places = [(run, place) for run in runs if (place := _place(run)) and place.name == RECORD]
    paths = [(path, run.get("n_test")) for run, place in places if (path := place.with_name(CELLS)).is_file()]
    cells = [c for path, count in paths if (c := _cells(path, count, path.stat().st_mtime_ns)) is not None]
    return np.mean(cells, axis=0) if cells else None


@cache
def _cells(path: Path, count: int, changed: int) -> np.ndarray | None:
    """Scores of so many test cells; None, and a line, if the file holds something else."""
    try:
        found = np.load(path, allow_pickle=False).astype(np.float64)
        if found.shape == (count,):
            return found
    except (OSError, ValueError, EOFError):
        pass
    told = f"left out: expected scores of {count} test cells in {visible(str(path))}, found something else"
    print(f"{told}; delete it, and the command of the run writes it again", file=sys.stderr)
    return None


@cache
def _table(path: Path, changed: int) -> dict[frozenset, float]:
    """Variance of each two methods, each named by cells and runs; read again if the file has ``changed``."""
    known = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for cells, group in groupby(csv.DictReader(file), key=lambda row: row["cells"]):
                rows = list(group)
                for row in rows:
                    for other, value in zip(rows, row["variances"].split(), strict=False):
                        if value != UNKNOWN:
                            known[frozenset(((cells, row["runs"]), (cells, other["runs"])))] = float(value)
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise ValueError(
            f"expected the columns {', '.join(COLUMNS)} in {path}, found {error!r}; delete it and keep again"
        ) from error
    return known
