"""Labels of cells: the form of each known column of the table of cells, however a file stores it.

A file may hold the same numbers as floats, text or categories, and a missing value as NaN or as the word
"NA". Scores must not depend on this form, so every data set and every solution file passes here.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

TEXT = ("batch", "cell_type", "phase")
FLAGS = ("is_train", "is_scored")
NUMBERS = ("S_score", "G2M_score", *(f"pseudotime_order_{kind}" for kind in ("GEX", "ADT", "ATAC")))
LABELS = ("cell_type", "phase", *NUMBERS)
MISSING = frozenset(
    {"", "nan", "-nan", "na", "<na>", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "none", "null"}
)
MISSING |= {"nat", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "-2147483648"}
"""Words for a missing value, in lower case: those of pandas, two more, and R's integer for it."""
WORDS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
SIDES = {"train": True, "iid_holdout": True, "test": False}  # in the competition's public deposit


def tidy_labels(name: str, obs: pd.DataFrame) -> pd.DataFrame:
    """A copy of the table of cells with every known column in its one form.

    `TEXT` becomes categories of text without unused ones, `NUMBERS` float64, finite or NaN, and `FLAGS` bool.
    NaN, None and the words of `MISSING` become NaN. Other columns stay. Raises ValueError if a value cannot
    be read as what its column holds, or a flag is missing.
    """
    obs = obs.copy()
    for columns, tidy in ((TEXT, _text), (NUMBERS, _numbers), (FLAGS, _flags)):
        for column in [c for c in columns if c in obs]:
            obs[column] = tidy(name, obs[column])
    return obs


def check_filled(name: str, column: pd.Series) -> None:
    """Refuse a column of the table of cells with missing values."""
    empty = column.isna()
    if empty.any():
        raise ValueError(
            f"{name}: {int(empty.sum())} cells have no {column.name}, e.g. {some(column.index[empty])}; "
            "fill the column or leave these cells out"
            + (", or go without: dataset.cell_type=null" if column.name == "cell_type" else "")
        )


def is_one_of(column: pd.Series, values: Sequence[Hashable]) -> np.ndarray:
    """The cells that have one of the values, in whatever form the file and the configuration write them.

    ``1``, ``1.0``, ``"1"``, ``"TRUE"`` and ``True`` are the same; so are a missing value and its words.
    """

    def plain(words: Sequence[Hashable]) -> list[Hashable]:
        return [WORDS.get(str(word).strip().lower(), word) for word in map(_word, words)]

    codes, found = _distinct(column)
    wanted = plain(values)
    return np.array([word in wanted for word in [*plain(found), None]])[codes]


def some(values: Sequence[Hashable]) -> str:
    """The first three as text, for messages."""
    return ", ".join(map(str, values[:3]))


def _text(name: str, column: pd.Series) -> pd.Series:
    """Categories, sorted; types and phases keep the order of their categories if they have one."""
    codes, values = _distinct(column)
    _refuse(name, column, "names", [v for v in values if np.iscomplexobj(v)])
    words = np.array([_word(value) for value in values] + [None], dtype=object)
    present = [word for word in dict.fromkeys(words) if word is not None]
    ordered = column.name != "batch" and isinstance(column.dtype, pd.CategoricalDtype)
    return pd.Series(pd.Categorical(words[codes], present if ordered else sorted(present)), column.index)


def _numbers(name: str, column: pd.Series) -> pd.Series:
    codes, values = _distinct(column)
    numbers = np.array([_number(value) for value in values] + [np.nan], dtype=object)
    unreadable = [value for value, number in zip(values, numbers, strict=False) if number is None]
    _refuse(name, column, "finite numbers or missing", unreadable)
    return pd.Series(numbers[codes].astype(np.float64), index=column.index)


def _flags(name: str, column: pd.Series) -> pd.Series:
    text = _text(name, column).rename(column.name)
    check_filled(name, text)
    known = WORDS | (SIDES if column.name == "is_train" else {})
    words = {value: value.strip().lower() for value in text.cat.categories}
    _refuse(name, column, "true or false for every cell", [w for w in words.values() if w not in known])
    flags = text.map({value: known[word] for value, word in words.items()}).astype(bool)
    if column.name == "is_scored" and len(flags) and not flags.any():
        raise ValueError(f"{name}: expected cells with is_scored, found none: mark some, or drop the column")
    return flags


def _distinct(column: pd.Series) -> tuple[np.ndarray, list[Hashable]]:
    """For each row the number of its value, -1 where pandas finds none; and the values."""
    if isinstance(column.dtype, np.dtype):  # pandas cannot tell the values of a foreign byte order apart
        column = column.astype(column.dtype.newbyteorder("="))
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = column.cat.remove_unused_categories().cat
        return used.codes.to_numpy(), list(used.categories)
    try:
        codes, values = pd.factorize(column)
    except TypeError as error:  # lists, as of receptor chains
        raise ValueError(
            f"expected one number or text for each cell in {column.name}, found {error}"
        ) from error
    return codes, list(values)


def _word(value: Hashable) -> str | None:
    """A value as text; whole floats become integers, since a missing value turns integers into floats."""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")  # é and è of Latin-1 stay apart
    if isinstance(value, (float, np.floating)) and value.is_integer():
        value = int(value)
    word = str(value)
    return None if word.strip().lower() in MISSING else word


def _number(value: Hashable) -> float | None:
    """A value as a finite float or NaN; None for anything else."""
    word = _word(value)
    if word is None:
        return np.nan
    if "_" in word or np.iscomplexobj(value):  # Python reads 1_000 as a number
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _refuse(name: str, column: pd.Series, expected: str, found: list[Hashable]) -> None:
    if found:
        raise ValueError(
            f"{name}: expected {column.name} to be {expected}, found {some(found)}; "
            "change the column, or drop it"
        )
