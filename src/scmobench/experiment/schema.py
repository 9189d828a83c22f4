"""What a record of a run looks like, checked wherever one is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGEST = 1 << 20  # bytes of a record; ours have a few thousand
DEEPEST = 20  # levels of lists and tables
GREATEST = 1e100  # of a number, so that sums and squares stay numbers

TEXT = "status task dataset subtask direction method kind config_hash data_hash protocol device message"
TEXT += " finished prediction_hash code task_settings arithmetic"
WHOLE = "parameters n_train n_test n_test_seen threads attempt"
NEEDED = "status task dataset subtask method seed"
NEEDED_OF_FINISHED = "config_hash data_hash scores"


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises
    ------
    ValueError, OSError : no record; says what was found.
    """
    check_regular(path)
    with path.open("rb") as file:
        return parsed(file.read(LARGEST + 1))


def check_regular(path: Path) -> None:
    """Refuse what is no plain file: a pipe would be waited for without end.

    Raises
    ------
    ValueError : a folder, a pipe, a device or a broken link.
    """
    if not path.is_file():
        raise ValueError("no plain file (but a folder, a pipe, a device or a broken link)")


def parsed(raw: bytes) -> dict[str, Any]:
    """A record from its JSON text; numbers that are not finite are none.

    Raises
    ------
    ValueError : no JSON in UTF-8, or a record without a needed field or with one of another type.
    """
    if len(raw) > LARGEST:
        raise ValueError(f"more than {LARGEST} bytes")
    try:
        record = json.loads(raw.decode(), parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("lists in lists without end") from error
    except ValueError as error:
        raise ValueError(f"{raw[:40]!r} ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(repr(raw[:40]))
    if _deeper(record, DEEPEST):
        raise ValueError(f"more than {DEEPEST} lists in one another")
    needed = NEEDED.split() + (NEEDED_OF_FINISHED.split() if record.get("status") == "ok" else [])
    for field in needed:
        if record.get(field) is None:
            raise ValueError(f"one without {field}")
    for field, (kind, fits) in FIELDS.items():
        if (value := record.get(field)) is not None and not fits(value):
            raise ValueError(f"{field} {str(value)[:40]!r}, which is not {kind}")
    return record


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _deeper(value: Any, levels: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(child, levels - 1) for child in children)


def _text(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < GREATEST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _score(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    number, reason = value.get("value"), value.get("reason")
    return (number is None or _number(number)) and (reason is None or _text(reason))


def _bounds(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _table(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(_text(k) and of(v) for k, v in value.items())


def _config(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key) or {}, dict) for key in ("task", "model")
    )


FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(TEXT.split(), ("a text", _text)),
    **dict.fromkeys(("task", "dataset", "subtask", "method"), ("a name", lambda v: _text(v) and v.strip())),
    **dict.fromkeys(WHOLE.split(), ("a whole number", _whole)),
    **dict.fromkeys(("seconds", "peak_memory_gb", "validation"), ("a number", _number)),
    **dict.fromkeys(("transductive", "label_supervised"), ("true or false", lambda v: isinstance(v, bool))),
    **dict.fromkeys(("versions", "report"), ("a table", lambda v: isinstance(v, dict))),
    "status": ("ok or failed", lambda v: v in ("ok", "failed")),
    "seed": ("a whole number or a text", lambda v: _whole(v) or _text(v)),
    "scores": ("a table of values and reasons", _table(_score)),
    "interval": ("a table of two bounds each", _table(_bounds)),
    "normalization": ("a table of texts", _table(_text)),
    "config": ("a table with those of task and model", _config),
}
