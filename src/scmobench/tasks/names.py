"""Compares the names in a prediction with those in the solution: is it transposed or reordered?"""

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.data.pairing import row_numbers, unnamed


def is_transposed(prediction: AnnData, solution: AnnData) -> bool:
    """Whether the names fit the solution better with rows and columns exchanged.

    No, where a file has no names: the competition's matching solutions do not name their columns, and many
    predictions name neither rows nor columns.
    """
    rows, columns = prediction.obs_names, prediction.var_names
    as_it_is = _fit(rows, solution.obs_names) + _fit(columns, solution.var_names)
    return _fit(rows, solution.var_names) + _fit(columns, solution.obs_names) > as_it_is


def check_order(what: str, found: pd.Index, expected: pd.Index, axis: str) -> None:
    """Refuse rows or columns with the solution's names in another order, or with other names.

    Rows without names, which anndata numbers from 0 and R from 1, stay as they are. Numbers in another order
    are names: the rows were moved after they were numbered.

    Parameters
    ----------
    what : the rows or columns in words, e.g. ``rows (cells)``.
    found, expected : names of the prediction and of the solution, equally many.
    axis : ``obs`` or ``var``.
    """
    found, expected = found.astype(str), expected.astype(str)
    if found.equals(expected):
        return
    numbers = row_numbers(found), row_numbers(expected)
    if all(n is not None for n in numbers) and np.array_equal(*numbers):
        return  # one counts from 0, the other from 1
    take = f"where the prediction is in the solution's order: prediction.{axis}_names = solution.{axis}_names"
    known = set(expected)
    if found.is_unique and expected.is_unique and set(found) == known:
        place = "solution.obs_names" if axis == "obs" else ":, solution.var_names"
        raise ValueError(
            f"the {what} are the right ones in another order: reorder them, e.g. prediction = "
            f"prediction[{place}].copy(); {take}"
        )
    if any(unnamed(names) for names in (found, expected)) and any(n is None for n in numbers):
        return
    for file, names in (("prediction", found), ("solution", expected)):
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            raise ValueError(
                f"expected every name of the {what} once, found {twice!r} twice in the {file}; {take}"
            )
    others = [name for name in found if name not in known] or list(found)
    there = expected[list(found).index(others[0])]
    raise ValueError(
        f"{len(others)} of {len(found)} names of the {what} are not the solution's, the first is "
        f"{others[0]!r} (there {there!r}): name all as the solution does, or none; {take}"
    )


def surplus(what: str, found: pd.Index, expected: pd.Index) -> str:
    """Which rows or columns the solution does not have, or has besides; empty where there are no names."""
    if len(found) == len(expected) or unnamed(found) or unnamed(expected):
        return ""
    more, fewer = found.difference(expected, sort=False), expected.difference(found, sort=False)
    names, told = (more, "not the solution's") if len(more) else (fewer, "missing")
    return f"; {what} {told}, e.g. {', '.join(map(str, names[:3]))}" if len(names) else ""


def _fit(found: pd.Index, expected: pd.Index) -> int:
    """2 for the same names in the same order, 1 in another order, 0 for other names or no names."""
    found, expected = found.astype(str), expected.astype(str)
    if len(found) != len(expected) or unnamed(found) or unnamed(expected):
        return 0
    return 2 if found.equals(expected) else int(set(found) == set(expected))
