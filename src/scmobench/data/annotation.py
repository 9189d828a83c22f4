"""The table of cells of one's own files: its columns' names, where it may be, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from scmobench.data.table import read_table


def check_agreement(name: str, tables: Mapping[str, pd.DataFrame], columns: Collection[str | None]) -> None:
    """Refuse what two tables of the same cells say differently.

    Parameters
    ----------
    name : of the dataset, for messages.
    tables : where a table stands, in words -> one row a cell; the order of cells may differ.
    columns : those that count.

    Raises
    ------
    ValueError : a cell stands twice in a table, or has two values of a column.
    """
    for where, table in tables.items():
        if not table.index.is_unique:
            twice = table.index[table.index.duplicated()][0]
            raise ValueError(
                f"{name}: every cell name must be there once, found {twice} twice in {where}; make the names "
                "unique in each modality: obs_names_make_unique()"
            )
    for column in dict.fromkeys(c for c in columns if c):
        (first, one), *others = [(w, t[column]) for w, t in tables.items() if column in t] or [("", None)]
        for second, other in others:
            shared = one.index.intersection(other.index)
            a, b = one[shared], other[shared]
            if (unlike := ~_same(a, b)).any():
                raise ValueError(
                    f"{name}: {column} of {unlike.sum()} cells is not the same in {first} and {second}, "
                    f"e.g. {a[unlike].iloc[0]} and {b[unlike].iloc[0]} of {shared[unlike][0]}: take it "
                    f"out of one (del obs[{column!r}]), or give the right one as CSV: dataset.labels=FILE"
                )


def _same(one: pd.Series, other: pd.Series) -> np.ndarray:
    if all(pd.api.types.is_numeric_dtype(series) for series in (one, other)):
        return np.isclose(*(series.astype(float) for series in (one, other)), equal_nan=True)
    text = (series.astype(object).where(series.notna(), "").astype(str).to_numpy() for series in (one, other))
    return np.equal(*text)


def read_labels(name: str, file: str | None, cells: pd.Index) -> pd.DataFrame:
    """Annotation of the cells from a CSV with their names in its first column; no column without a file.

    Raises
    ------
    ValueError : a cell is not there, or is there twice, or a column is.
    """
    if not file:
        return pd.DataFrame(index=cells)
    columns = read_table(Path(file).expanduser(), header=None, nrows=1, dtype=str).iloc[0, 1:].dropna()
    if twice := list(columns[columns.duplicated()][:3]):
        raise ValueError(f"{name}: columns twice in {file}: {', '.join(twice)}; keep one")
    table = read_table(Path(file).expanduser(), index_col=0, converters={0: str})  # 001 is a name, no number
    missing = cells.difference(table.index, sort=False)
    if len(missing):
        raise ValueError(
            f"{name}: {len(missing)} of {len(cells)} cells are not in {file}, e.g. "
            f"{', '.join(missing[:3])}; its first column must hold the cell names"
        )
    table = table[table.index.isin(cells)]
    if twice := list(table.index[table.index.duplicated()][:3]):
        raise ValueError(f"{name}: cells twice in {file}: {', '.join(twice)}; keep one row")
    return table
