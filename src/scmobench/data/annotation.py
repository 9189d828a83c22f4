"""The annotation of cells from outside: which columns are used, and which tables contradict each other."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from scmobench.data.labels import FLAGS, MISSING, NUMBERS, some, tidy_labels
from scmobench.data.table import read_table
from scmobench.machine.files import path_of
from scmobench.types import MODALITIES

MOST = 50  # batches that a column may name


def column(name: str, obs: pd.DataFrame, wanted: str, advice: str = "") -> pd.Series:
    """A column of the cell annotation of the data set ``name``."""
    if wanted not in obs:
        found = list(map(str, obs.columns))
        raise ValueError(f"{name}: no column {wanted!r} in the cell annotation, it has {found}{advice}")
    return obs[wanted]


def named_columns(name: str, obs: pd.DataFrame, batch: str | None, cell_type: str | None) -> pd.DataFrame:
    """The cell annotation with the named columns as ``batch`` and ``cell_type``.

    Without a batch column (None) all cells are one batch; without a cell type column there are no types. Only
    the default column ``cell_type`` may be absent.
    """
    obs = obs.copy()
    for target, wanted in (("batch", batch), ("cell_type", cell_type)):
        if wanted is None:
            obs = obs.drop(columns=target, errors="ignore")
        elif wanted in obs or wanted != "cell_type" or target == "batch":
            obs[target] = column(name, obs, wanted, f"; name the right one: dataset.{target}=COLUMN")
    if batch is not None and (found := obs["batch"].nunique()) > len(obs) / 2:
        raise ValueError(
            f"{name}: expected batches of several cells in column {batch!r}, found {found} batches of "
            f"{len(obs)} cells: name another column as dataset.batch=COLUMN, or leave it out"
        )
    return obs.assign(batch="all") if batch is None else obs


def known_names(obs: pd.DataFrame) -> pd.DataFrame:
    """The cell annotation with columns of Seurat and of GEO GSE194122, the competition's, under our names."""
    ours = {"GEX_phase": "phase", "Phase": "phase", "S.Score": "S_score", "G2M.Score": "G2M_score"}
    ours |= {f"{kind}_pseudotime_order": f"pseudotime_order_{kind}" for kind in MODALITIES}
    for name, our in ours.items():
        obs = obs if our in obs else obs.rename(columns={name: our})
    return obs


def few_values(obs: pd.DataFrame) -> list[str]:
    """Columns with several values, but few, and none missing, as batches have."""
    full = obs.dropna(axis=1)  # every cell has a batch
    return [str(name) for name in full if 2 <= full[name].astype(str).nunique() <= min(MOST, len(obs) // 5)]


def check_agreement(name: str, tables: Mapping[str, pd.DataFrame], columns: Collection[str | None]) -> None:
    """Refuse tables of the same cells that contradict each other in one of these ``columns``.

    ``tables`` : place of the table, in words -> one row a cell; the order of cells may differ.
    """
    for where, table in tables.items():
        if len(twice := table.columns[table.columns.duplicated() & table.columns.isin(columns)]):
            raise ValueError(
                f"{name}: expected a column {twice[0]!r} once, found it twice in {where}: drop one"
            )
        if not table.index.is_unique:
            twice = table.index[table.index.duplicated()][0]
            raise ValueError(
                f"{name}: every cell name must be there once, found {twice} twice in {where}; make the names "
                "unique in each modality: obs_names_make_unique()"
            )
    for label in dict.fromkeys(c for c in columns if c):
        (first, one), *others = [(w, t[label]) for w, t in tables.items() if label in t] or [("", None)]
        for second, other in others:
            shared = one.index.intersection(other.index)
            a, b = one[shared], other[shared]
            if (unlike := ~_same(name, a, b)).any():
                raise ValueError(
                    f"{name}: {label} of {unlike.sum()} cells is not the same in {first} and {second}, "
                    f"e.g. {a[unlike].iloc[0]} and {b[unlike].iloc[0]} of {shared[unlike][0]}: take it "
                    f"out of one (del obs[{label!r}]), or give the right one as CSV: dataset.labels=FILE"
                )


def joined(tables: Mapping[str, pd.DataFrame], cells: pd.Index) -> pd.DataFrame:
    """One row for each of the cells, with the columns of all tables; the first that has a column decides."""
    obs = pd.DataFrame(index=cells)
    for table in tables.values():
        obs = obs.join(table.reindex(cells)[[column for column in table if column not in obs]])
    return obs


def _same(name: str, one: pd.Series, other: pd.Series) -> np.ndarray:
    """Whether each cell has the same label in both, in whatever form they store it."""
    kind = one.name if one.name in (*NUMBERS, *FLAGS) else "cell_type"
    one, other = (tidy_labels(name, series.to_frame(kind))[kind] for series in (one, other))
    if kind in NUMBERS:
        return np.isclose(one, other, equal_nan=True)
    one, other = (series.astype(object) for series in (one, other))
    return ((one == other) | (one.isna() & other.isna())).to_numpy()


def read_labels(name: str, file: str | None, cells: pd.Index) -> pd.DataFrame:
    """Annotation of the cells from a CSV with their names in its first column; no columns without a file."""
    if not file:
        return pd.DataFrame(index=cells)
    path = path_of(file)
    columns = read_table(path, header=None, nrows=1).iloc[0, 1:]
    if twice := list(columns[columns.duplicated() & (columns != "")][:3]):
        raise ValueError(f"{name}: columns twice in {file}: {', '.join(twice)}; keep one")
    if columns.empty:
        raise ValueError(
            f"{name}: expected at least two columns, separated by commas, in {file}; found one: "
            "save it as CSV"
        )
    table = read_table(path)
    table = table.set_index(table.columns[0])
    for column, text in table.items():  # pandas writes whole numbers as 1.0 where one is missing
        present = text[~text.str.strip().str.lower().isin(MISSING)]
        if len(present) and present.str.fullmatch(r"-?\d+\.0*").all():
            table[column] = text.str.replace(r"\.0*$", "", regex=True)
    missing = cells.difference(table.index, sort=False)
    if len(missing):
        advice = "add their rows, or take these cells out of the data: `adata[table.index]`"
        if len(missing) == len(cells):
            advice = (
                f"its first column must hold the full cell names, found {some(table.index)}; its first line "
                "must name every column, as R's write.csv does"
            )
        raise ValueError(
            f"{name}: {len(missing)} of {len(cells)} cells are not in {file}, e.g. {some(missing)}; {advice}"
        )
    table = table[table.index.isin(cells)]
    if twice := list(table.index[table.index.duplicated()][:3]):
        raise ValueError(f"{name}: cells twice in {file}: {', '.join(twice)}; keep one row")
    return table
