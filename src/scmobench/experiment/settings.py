"""Whether the settings of a configuration are of the types that what they build asks for."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2**63  # whole number that numpy and torch take
SHOWN = 100  # characters of a value in a message
WORDS = {bool: "true or false", str: "text", type(None): "null", Any: "any value"}
WORDS |= {int: "a whole number", float: "a number"}
CALLED = ("_target_", "_partial_")
BUILT = ("scmobench.nn", "scmobench.models")  # whose classes may be settings of any class


def check_types(
    node: Any, locate: Callable[[str], Any], hint: Any = object, place: str = "`_target_`"
) -> None:
    """Check each ``_target_`` against its place, and each setting beside it against its annotations.

    Parameters
    ----------
    node : plain, as YAML holds it.
    locate : finds a target by its name.
    hint : what ``place`` takes: a type, a union of types, or the name of a package of functions.
    place : name of the setting, for messages.

    Raises
    ------
    ValueError : a setting of another type, such as text for a number, or a target that makes something else
        than its place takes.
    """
    if isinstance(node, list):
        for child in node:
            check_types(child, locate, Any, place)
    if not isinstance(node, dict):
        return
    hints = {}
    if "_target_" in node:
        target = locate(node["_target_"])
        hints = _hints(target)
        if not _makes(target, hint, node.get("_partial_", False)):
            raise ValueError(f"expected {place} to be {in_words(hint)}, found {node['_target_']}")
        hints["_partial_"] = bool
    for key, value in node.items():
        if "_target_" in node and str(key).startswith("_") and key not in CALLED:
            raise ValueError(
                f"expected settings and `_partial_` beside `_target_`, found {key}: leave it out"
            )
        if key in hints and not fits(value, hints[key]):
            raise ValueError(
                f"{target.__name__}: expected {key} to be {in_words(hints[key])}, found {shown(value)}"
            )
        check_types(value, locate, hints.get(key, Any), str(key))


def in_words(hint: Any) -> str:
    """A type as a message names it."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, str):
        return f"a function of {hint}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, inner))
    if origin in (list, tuple, Sequence):
        return f"a list, each {in_words(inner[0])}"
    if origin in (dict, Mapping):
        return f"a mapping to {in_words(inner[1])}"
    return WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _makes(target: Any, hint: Any, partial: bool) -> bool:
    """Whether what ``target`` makes, or as ``_partial_`` will make, is what its place takes."""
    ours = target.__module__.split(".")[0] == "scmobench"
    if isinstance(hint, str):
        return partial and not inspect.isclass(target) and target.__module__.startswith(hint)
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    made = target if inspect.isclass(target) else _annotations(target).get("return", Any)
    if partial:  # the place takes a function, and says what that returns
        choices = [get_args(one)[1] for one in choices if get_origin(one) is Callable]
        choices = [inner for one in choices for inner in (get_args(one) or (one,))]
    elif not inspect.isclass(target):
        return False  # nothing but a class is called while a configuration is read
    if made is Any or Any in choices or not choices:
        return not ours or (inspect.isclass(target) and target.__module__.startswith(BUILT))
    return any(isinstance(one, type) and isinstance(made, type) and issubclass(made, one) for one in choices)


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


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type; a number is finite, and true and false are no numbers.

    Types other than plain ones, sequences, mappings, literals, classes and unions of these are passed over.
    """
    if isinstance(value, dict) and "_target_" in value:  # says what it builds only when it is built
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if hint is int:
        return type(value) is int and abs(value) < LARGEST
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is Path:
        return isinstance(value, str | Path)
    if origin in (list, tuple, Sequence):
        each = inner[0] if len(inner) == 1 or inner[-1:] == (Ellipsis,) else Any
        return isinstance(value, list | tuple) and all(fits(one, each) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(fits(one, inner[1]) for one in value.values())
    if origin is Callable:
        return False
    return isinstance(value, hint) if isinstance(hint, type) and hint is not Any else True
