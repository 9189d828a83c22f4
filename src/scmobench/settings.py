"""Whether the settings of a configuration are of the types that what they build asks for."""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints


def check_types(node: Any, locate: Callable[[str], Any]) -> None:
    """Check each setting beside a ``_target_``, and inside it, against the target's annotations.

    Annotations other than plain types, sequences, mappings and unions of these are passed over.

    Parameters
    ----------
    node : plain, as YAML holds it.
    locate : finds a target by its name.

    Raises
    ------
    ValueError : a setting of another type, such as text for a number.
    """
    if isinstance(node, list):
        for child in node:
            check_types(child, locate)
    if not isinstance(node, dict):
        return
    target = locate(node["_target_"]) if "_target_" in node else None
    hints = _hints(target)
    for key, value in node.items():
        if key in hints and not _fits(value, hints[key]):
            hint = hints[key]  # a union is no type; from Python 3.14 on its name is "Union"
            kind = hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")
            raise ValueError(f"{target.__name__}: expected {key} to be {kind}, found {value!r}")
        check_types(value, locate)


def _hints(target: Any) -> dict[str, Any]:
    """Annotations of what ``target`` takes, its bases too and the class that it ``passes_to``."""
    if not inspect.isclass(target):
        return _annotations(target) if inspect.isfunction(target) else {}
    if is_dataclass(target):
        return _annotations(target)
    further = _hints(getattr(target, "passes_to", None))
    bases = [_annotations(base.__init__) for base in reversed(target.__mro__) if "__init__" in vars(base)]
    return functools.reduce(operator.or_, bases, further)


def _annotations(of: Any) -> dict[str, Any]:
    try:
        return get_type_hints(of)
    except NameError:  # one that is imported for type checking alone
        return {}


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, dict) and "_target_" in value:  # says what it builds only when it is built
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if hint is Path:
        return isinstance(value, str | Path)
    if origin in (list, tuple, Sequence):
        each = inner[0] if len(inner) == 1 or inner[-1:] == (Ellipsis,) else Any
        return isinstance(value, list | tuple) and all(_fits(one, each) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    return True
