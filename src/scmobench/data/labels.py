"""Labels of cells: what each column of the table of cells must be, in whatever form a file stores it.

A file may hold the same numbers as floats, as text or as categories, and a missing value as NaN or as the
word "NA". A score must not depend on that. Every dataset passes here, and so does every solution file.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

TEXT = ("batch", "cell_type", "phase")
FLAGS = ("is_train", "is_scored")
NUMBERS = (
    "S_score",
    "G2M_score",
    "pseudotime_order_GEX",
    "pseudotime_order_ADT",
    "pseudotime_order_ATAC",
)
LABELS = ("cell_type", "phase", *NUMBERS)
MISSING = frozenset({"", "nan", "-nan", "na", "<na>", "n/a", "#n/a", "none", "null", "nat"})
"""Words that stand for a missing value, in small or capital letters."""
WORDS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
SIDES = {"train": True, "iid_holdout": True, "test": False}  # of the competition's public deposit


def tidy_labels(name: str, obs: pd.DataFrame) -> pd.DataFrame:
    """The table of cells with every known column in the one form that it must have.

    `TEXT` becomes categories of text without unused ones; `NUMBERS` become float64, finite or NaN; `FLAGS`
    become bool. Values that are missing, as NaN, None or one of the words in `MISSING`, are NaN in text and
    numbers. Other columns are left as they are.

    Parameters
    ----------
    name : what to call the table in a message.
    obs : one row a cell; left untouched.

    Raises
    ------
    ValueError : a value cannot be read as what its column holds, or a flag is missing.
    """
    obs = obs.copy()
    for columns, tidy in ((TEXT, _text), (NUMBERS, _numbers), (FLAGS, _flags)):
        for column in [c for c in columns if c in obs]:
            obs[column] = tidy(name, obs[column])
    return obs


def check_filled(name: str, column: pd.Series) -> None:
    """Refuse a column of the table of cells in which a value is missing."""
    empty = column.isna()
    if empty.any():
        raise ValueError(
            f"{name}: {int(empty.sum())} cells have no {column.name}, e.g. {_some(column.index[empty])}; "
            "fill the column, leave these cells out"
            + (", or go without: dataset.cell_type=null" if column.name == "cell_type" else "")
        )


def is_one_of(column: pd.Series, values: Sequence[Hashable]) -> np.ndarray:
    """Which cells have one of the values, in whatever form the file and the configuration write them.

    ``1``, ``1.0``, ``"1"``, ``"TRUE"`` and ``True`` are the same; so are a missing value and its words.
    """

    def plain(words: Sequence[Hashable]) -> list[Hashable]:
        return [WORDS.get(str(word).strip().lower(), word) for word in map(_word, words)]

    codes, found = _distinct(column)
    wanted = plain(values)
    return np.array([word in wanted for word in [*plain(found), None]])[codes]


def _text(name: str, column: pd.Series) -> pd.Series:
    """As categories: in the order that the file has, if it has categories, else sorted."""
    codes, values = _distinct(column)
    _refuse(name, column, "names", [v for v in values if np.iscomplexobj(v)])
    words = np.array([_word(value) for value in values] + [None], dtype=object)
    present = [word for word in dict.fromkeys(words) if word is not None]
    ordered = column.name != "batch" and isinstance(column.dtype, pd.CategoricalDtype)
    categories = present if ordered else sorted(present)
    return pd.Series(pd.Categorical(words[codes], categories), index=column.index)


def _numbers(name: str, column: pd.Series) -> pd.Series:
    codes, values = _distinct(column)
    numbers = np.array([_number(value) for value in values] + [np.nan], dtype=object)
    unreadable = [value for value, number in zip(values, numbers, strict=False) if number is None]
    _refuse(name, column, "finite numbers or missing", unreadable)
    return pd.Series(numbers[codes].astype(np.float64), index=column.index)


def _flags(name: str, column: pd.Series) -> pd.Series:
    said = _text(name, column).rename(column.name)
    check_filled(name, said)
    known = WORDS | (SIDES if column.name == "is_train" else {})
    words = [word.strip().lower() for word in said.cat.categories]
    _refuse(name, column, "true or false for every cell", [word for word in words if word not in known])
    return said.map(dict(zip(said.cat.categories, map(known.get, words), strict=True))).astype(bool)


def _distinct(column: pd.Series) -> tuple[np.ndarray, list[Hashable]]:
    """Each row's number of its value, -1 where pandas sees none, and the values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = column.cat.remove_unused_categories().cat
        return used.codes.to_numpy(), list(used.categories)
    if isinstance(column.dtype, np.dtype):  # pandas cannot tell the values of a foreign byte order apart
        column = column.astype(column.dtype.newbyteorder("="))
    codes, values = pd.factorize(column)
    return codes, list(values)


def _word(value: Hashable) -> str | None:
    """A value as text: whole floats as integers, as pandas makes floats of integers beside a missing one."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, (float, np.floating)) and value.is_integer():
        value = int(value)
    word = str(value)
    return None if word.strip().lower() in MISSING else word


def _number(value: Hashable) -> float | None:
    """A value as a finite float or NaN; None where it is neither."""
    word = _word(value)
    if word is None:
        return np.nan
    if "_" in word or np.iscomplexobj(value):  # Python takes 1_000 for a number
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _refuse(name: str, column: pd.Series, expected: str, found: list[Hashable]) -> None:
    if found:
        raise ValueError(
            f"{name}: expected {column.name} to be {expected}, found {_some(found)}; "
            "change the column, or drop it"
        )


def _some(values: pd.Index | list[Hashable]) -> str:
    return ", ".join(map(str, values[:3]))
