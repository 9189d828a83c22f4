"""What a record of a run looks like. Every reader and writer of records checks this."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args, get_origin, is_typeddict

from scmobench.experiment.config import contents
from scmobench.experiment.settings import fields, fits, in_words
from scmobench.types import TASKS

LARGEST = 1 << 20  # bytes of a record; ours have a few thousand
DEEPEST = 20  # levels of lists and mappings
GREATEST = {int: 2**53, float: 1e100}  # sums and squares of such numbers stay finite


class ValueAndReason(TypedDict):
    """A score in a record."""

    value: float | None
    reason: str | None


class TaskAndModel(TypedDict):
    """The configuration in a record."""

    task: Mapping[str, Any] | None
    model: Mapping[str, Any] | None


TEXT = "task dataset subtask direction method kind config_hash data_hash protocol device message"
TEXT += " finished prediction_hash code arithmetic commit command"
WHOLE = "parameters n_train n_test n_test_seen threads attempt"
FIELDS = {
    **dict.fromkeys(TEXT.split(), str),
    **dict.fromkeys(WHOLE.split(), int),
    **dict.fromkeys(("seconds", "peak_memory_gb", "validation"), float),
    **dict.fromkeys(("transductive", "label_supervised"), bool),
    "status": Literal["ok", "failed"],
    "seed": int | str,
    "scores": Mapping[str, ValueAndReason],
    "interval": Mapping[str, tuple[float, float]],
    "normalization": Mapping[str, str],
}
FREE_FIELDS = {"config": TaskAndModel, "versions": dict, "report": dict}  # hold values of any size
KINDS = FIELDS | FREE_FIELDS
NOT_NEGATIVE = ("n_train", "n_test", "n_test_seen", "seconds", "peak_memory_gb", "parameters", "threads")
ROUNDING = 1e-6  # by which sums of rounded numbers may leave their bounds
MOST_DIGITS = 4000  # of a whole number; Python reads few more
NEEDED = ("status", "task", "dataset", "subtask", "method", "seed")
NEEDED_OF_FINISHED = ("config_hash", "data_hash", "scores")


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file. Raises ValueError or OSError if there is none."""
    check_regular(path)
    with path.open("rb") as file:
        return parsed(file.read(LARGEST + 1))


def check_regular(path: Path) -> None:
    """Raise ValueError if this is not a plain file: reading a pipe could wait for ever."""
    if not path.is_file():
        raise ValueError("no plain file (but a folder, a pipe, a device or a broken link)")


def parsed(raw: bytes) -> dict[str, Any]:
    """A record from its JSON text. A number that is not finite becomes None.

    Raises ValueError for what is no JSON in UTF-8, a record without a needed field or with a field of another
    type, and a score that its metric cannot have.
    """
    if len(raw) > LARGEST:
        raise ValueError(f"more than {LARGEST} bytes")
    try:
        text = raw.decode("utf-8-sig")
        record = json.loads(text, parse_constant=lambda _: None, parse_float=_finite, parse_int=whole_number)
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} lists in one another") from error
    except ValueError as error:
        raise ValueError(f"{raw[:40]!r} ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(repr(raw[:40]))
    if _deeper(record, DEEPEST):
        raise ValueError(f"more than {DEEPEST} lists in one another")
    for field in NEEDED + (NEEDED_OF_FINISHED if record.get("status") == "ok" else ()):
        value = record.get(field)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise ValueError(f"one without {field}")
    for field, value in record.items():
        if value is None or (kind := KINDS.get(field)) is None:
            continue
        if fault := _fault(field, value, kind, field in FIELDS):
            raise ValueError(fault)
    for metric, score in (record.get("scores") or {}).items():
        low, high = _bounds(record["task"]).get(metric, (-math.inf, math.inf))
        if (value := score.get("value")) is not None and not low - ROUNDING <= value <= high + ROUNDING:
            raise ValueError(f"scores.{metric} of {value}, which is not from {low} to {high}")
    for metric, (low, high) in (record.get("interval") or {}).items():
        if low > high:
            raise ValueError(f"interval.{metric[:40]} from {low} to {high}, whose ends are exchanged")
    return record


@cache
def _bounds(task: str) -> dict[str, tuple[float, float]]:
    """The lowest and the highest value of each metric of a task."""
    found = {}
    for metric, node in (contents(f"metric/{task}") if task in TASKS else {}).items():
        low, high = node["metadata"]["bounds"]
        found[metric] = (-math.inf if low is None else low, math.inf if high is None else high)
    return found


def whole_number(digits: str) -> int:
    """A whole number of JSON. Raises ValueError for one that is too long to read."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits, expected at most {MOST_DIGITS}")
    return int(digits)


def _fault(place: str, value: Any, kind: Any, bounded: bool) -> str:
    """The part of a value that is not of its kind, and why; empty where all parts are.

    Texts and numbers that are ``bounded`` have to be readable.
    """
    suits, negative = fits(value, kind), place in NOT_NEGATIVE
    if suits and not (negative and value < 0) and not (bounded and not _readable(value)):
        return ""
    if isinstance(value, dict) and (is_typeddict(kind) or get_origin(kind) is Mapping):
        inner = fields(kind) if is_typeddict(kind) else dict.fromkeys(value, get_args(kind)[-1])
        parts = (
            _fault(f"{place}.{key[:40]}", value[key], inner[key], bounded) for key in value if key in inner
        )
        if fault := next(filter(None, parts), ""):
            return fault
    found = f"{place} {str(value)[:40]!r}, which is"
    if not suits:
        return f"{found} not {in_words(kind)}"
    return f"{found} negative" if negative and value < 0 else f"{found} too large or no valid text"


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _deeper(value: Any, levels: int) -> bool:
    inner = _children(value)
    if levels <= 1:
        return levels == 0 or bool(inner)
    return any(_deeper(child, levels - 1) for child in inner if isinstance(child, dict | list))


def _readable(value: Any) -> bool:
    """Whether all numbers are of a usual size, and all texts valid Unicode (no half of a surrogate pair)."""
    if isinstance(value, str):
        return value.isascii() or value == value.encode(errors="replace").decode()
    if isinstance(value, int | float):
        return abs(value) < GREATEST.get(type(value), 2)
    return all(map(_readable, [*_children(value), *(value if isinstance(value, dict) else ())]))


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
