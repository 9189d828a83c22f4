"""Checks that a plain value, as YAML and JSON hold it, has the type that its setting is annotated with."""

import functools
import inspect
import operator
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

LARGEST = 2**63  # whole number that numpy and torch take
SHOWN = 100  # characters of a value in a message
WORDS = {bool: "true or false", str: "text", type(None): "null", Any: "any value"}
WORDS |= {int: "a whole number", float: "a number"}
CALLED = ("_target_", "_partial_")
LISTS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
BUILT = ("scmobench.nn", "scmobench.models")  # their classes may be settings without an annotation


def check_types(
    node: Any, locate: Callable[[str], Any], kind: Any = object, place: str = "`_target_`"
) -> None:
    """Check each ``_target_`` against its place, and each setting against the annotations of its target.

    ``locate`` finds a target by its name. ``kind`` is what ``place`` takes: a type, a union of types, or the
    name of a package of functions. Raises ValueError for a setting or a target of another type, and for other
    keys that begin with ``_``.
    """
    if isinstance(node, list):
        for child in node:
            check_types(child, locate, Any, place)
    if not isinstance(node, dict):
        return
    kinds = {}
    if "_target_" in node:
        target = locate(node["_target_"])
        if not _makes(target, kind, node.get("_partial_", False)):
            base = _members(kind)[0]
            whole = f": inherit from {base.__module__}.{base.__name__}" if isinstance(base, type) else ""
            raise ValueError(f"expected {place} to be {in_words(kind)}, found {node['_target_']}{whole}")
        if others := [key for key in node if str(key).startswith("_") and key not in CALLED]:
            raise ValueError(
                f"expected settings and `_partial_` beside `_target_`, found {others[0]}: leave it out"
            )
        kinds = _annotations(target) | {"_partial_": bool}
    for key, value in node.items():
        if key in kinds:
            check_fits(key, value, kinds[key])
        check_types(value, locate, kinds.get(key, Any), str(key))
    if "_target_" in node:
        _check_known(node, target)


def check_fits(setting: str, value: Any, kind: Any) -> None:
    """Raise ValueError for a setting of another type than its place takes."""
    if not fits(value, kind, nodes=True):
        ours = [one for one in _members(kind) if str(getattr(one, "__module__", "")).startswith("scmobench.")]
        right = f"expected {setting} to be {in_words(kind)}, found {shown(value)}"
        if isinstance(value, dict) and ours:
            right += f": add `_target_: {ours[0].__module__}.{ours[0].__name__}` to it"
        raise ValueError(right + (": put it in brackets" if fits([value], kind) else ""))


def _check_known(node: Mapping[str, Any], target: Any) -> None:
    """Raise ValueError for a setting that the target does not take, or that it needs and lacks."""
    taken = inspect.signature(target).parameters
    needed = [n for n, one in taken.items() if one.default is one.empty and one.kind not in LISTS]
    if missing := [name for name in needed if name not in node and not node.get("_partial_")]:
        raise ValueError(f"expected a setting {missing[0]!r}, found none: add it to the YAML")
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return
    if unknown := [str(key) for key in node if key not in taken and key not in CALLED]:
        near = get_close_matches(unknown[0], taken, 1)
        advice = f": did you mean {near[0]}?" if near else f"; it takes {', '.join(taken) or 'none'}"
        raise ValueError(f"no setting {unknown[0]!r}{advice}")


def _makes(target: Any, kind: Any, partial: bool) -> bool:
    """Whether ``target``, or with ``_partial_`` the function that it becomes, is what its place takes."""
    if isinstance(kind, str):
        return partial and not inspect.isclass(target) and target.__module__.startswith(kind)
    if not partial and not inspect.isclass(target):
        return False  # nothing but a class is called while a configuration is read
    choices = _members(kind)
    if partial:  # the place takes a function; its annotation names what the function returns
        returned = [get_args(one)[1] for one in choices if get_origin(one) is Callable]
        choices = [made for one in returned for made in _members(one)]
    made = target if inspect.isclass(target) else _hints(target).get("return", Any)
    if made is Any or Any in choices or not choices:
        ours = target.__module__.split(".")[0] == "scmobench"
        return not ours or (inspect.isclass(target) and target.__module__.startswith(BUILT))
    return any(isinstance(one, type) and isinstance(made, type) and issubclass(made, one) for one in choices)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _annotations(target: Any) -> dict[str, Any]:
    """Types of the arguments of a function or a class, those of its bases too."""
    if not inspect.isclass(target) or is_dataclass(target):
        return _hints(target)
    bases = [_hints(base.__init__) for base in reversed(target.__mro__) if "__init__" in vars(base)]
    return functools.reduce(operator.or_, bases, {})


def _hints(of: Any) -> dict[str, Any]:
    try:
        return get_type_hints(of)
    except NameError:  # an annotation that is imported for type checking alone
        return {}


@functools.cache
def fields(kind: type) -> dict[str, Any]:
    """The types of what a TypedDict holds."""
    return get_type_hints(kind)


def fits(value: Any, kind: Any, nodes: bool = False) -> bool:
    """Whether a plain value is of a type.

    Numbers are finite, and true and false are no numbers. Every value fits a type that is not a plain type, a
    class, a sequence, a mapping, a literal or a union of these. ``nodes``: a mapping with ``_target_`` fits
    every type, because only the object that it describes has one.
    """
    if nodes and isinstance(value, dict) and "_target_" in value:
        return True
    if kind is int:
        return type(value) is int and abs(value) < LARGEST
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    origin, inner = get_origin(kind), get_args(kind)
    inside = functools.partial(fits, nodes=nodes)
    if origin in (Union, types.UnionType):
        return any(inside(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if kind is Path:
        return isinstance(value, str | Path)
    if is_typeddict(kind):
        own = fields(kind).items()
        return isinstance(value, dict) and all(inside(value.get(name), one) for name, one in own)
    if origin is tuple and Ellipsis not in inner:
        return isinstance(value, list | tuple) and len(value) == len(inner) and all(map(inside, value, inner))
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and all(inside(one, inner[0]) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(inside(one, inner[1]) for one in value.values())
    if origin is Callable:
        return False
    return isinstance(value, kind) if isinstance(kind, type) and kind is not Any else True


def in_words(kind: Any) -> str:
    """A type as a message names it."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, str):
        return f"a function of {kind}"
    if is_typeddict(kind):
        return f"a mapping with {' and '.join(kind.__annotations__)}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, inner))
    if origin in (list, tuple, Sequence):
        return f"a list, each {in_words(inner[0])}"
    if origin in (dict, Mapping):
        return f"a mapping to {in_words(inner[1])}"
    return WORDS.get(kind) or str(getattr(kind, "__name__", kind))


def shown(value: Any) -> str:
    """A value as a message shows it, cut if it is long; of a table or an array the type and the shape."""
    if hasattr(value, "shape") and getattr(value, "ndim", 1):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def plain(value: Any) -> Any:
    """A path as text, and a value of NumPy or pandas as Python's own; any other as it is."""
    return str(value) if isinstance(value, Path) else value.tolist() if hasattr(value, "tolist") else value


def checked_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a public function refuse an argument of another type than annotated, in one line (TypeError)."""
    taken = inspect.signature(function)

    @functools.wraps(function)
    def call(*given: Any, **settings: Any) -> Any:
        try:
            bound = taken.bind(*given, **settings)
        except TypeError as error:
            told = f"{function.__name__}: {error}; it takes {', '.join(taken.parameters)}"
            raise TypeError(told) from error
        for name, value in bound.arguments.items():
            argument = taken.parameters[name]
            kind = argument.annotation
            if Any in _members(kind):
                continue
            if argument.kind is argument.VAR_POSITIONAL:
                wrong = [one for one in value if not fits(plain(one), kind)]
                value, kind = (wrong[0], kind) if wrong else (value, Sequence[kind])
            found = value if getattr(value, "ndim", 0) else plain(value)
            bound.arguments[name] = value = found if fits(found, kind) else plain(value)
            if not fits(value, kind):
                right = f"{function.__name__}: expected {name} to be {in_words(kind).replace('null', 'None')}"
                raise TypeError(f"{right}, found {shown(found)}")
        return function(*bound.args, **bound.kwargs)

    return call
