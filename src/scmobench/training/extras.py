"""Optional packages: imported when a method that needs them is run, with a word on how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType


def load(module: str, extra: str) -> ModuleType:
    """An optional package of the install extra ``extra``.

    Raises
    ------
    ValueError : it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is not installed: in the checkout, pip install -e '.[{extra}]'"
        ) from error
