"""Optional packages, imported when a method that needs them runs."""

from __future__ import annotations

import importlib
from types import ModuleType


def load(module: str, extra: str) -> ModuleType:
    """Import an optional package of the install extra ``extra``; ValueError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        advice = f"in the checkout, pip install -e '.[{extra}]'"
        raise ValueError(f"{error.name} is not installed: {advice}") from error
