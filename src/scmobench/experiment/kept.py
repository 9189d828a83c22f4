"""Records as the tables read them: from folders of runs, and from files of JSON lines."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scmobench.experiment import cell_differences, schema
from scmobench.experiment.records import RECORD
from scmobench.machine import files
from scmobench.machine.terminal import visible

LARGEST = 1 << 26  # bytes of a file of kept records


class Kept(dict):
    """A record, and the file ``where`` it was read from."""

    where: Path


def read(folders: Iterable[str | Path]) -> list[Kept]:
    """All records below some folders: ``record.json`` of runs and ``*.jsonl`` of kept results.

    Runs that were scored to choose settings (``score_on`` other than ``test``) are left out of every table.
    A damaged ``record.json`` is named on the error output and left out: the other runs are read.
    Raises FileNotFoundError for a folder that does not exist, ValueError for a damaged file of kept results.
    """
    records = []
    for where in map(Path, folders):
        if not os.path.isdir(where):
            raise FileNotFoundError(
                f"expected a folder of records at {where}, found none: name the folder of your runs, "
                "or run something first, e.g. scmobench run model=knn dataset=mini_cite"
            )
        for path in record_files(where):
            try:
                held = [Kept(r) for r in lines(path) if "score_on" not in (r.get("config") or {})]
            except ValueError as error:
                if path.suffix == ".jsonl":
                    raise
                print(visible(f"left out: {error}"), file=sys.stderr)
                continue
            for record in held:
                record.where = path
            records.extend(held)
    return records


def record_files(where: Path) -> list[Path]:
    """The files of records below a folder, links to folders included, each folder once.

    Raises OSError for a folder that cannot be read.
    """
    found, seen = [], set()

    def refuse(error: OSError) -> None:
        raise OSError(f"expected folders that can be read, found {error}: allow it with chmod") from error

    for folder, inner, names in os.walk(where, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            inner.clear()
            continue
        seen.add(real)
        found += [Path(folder, name) for name in names if name == RECORD or name.endswith(".jsonl")]
    return sorted(found)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records in a file, one in each line of ``*.jsonl``. Raises ValueError for anything else."""
    number = 0
    try:
        schema.check_regular(path)
        if path.suffix != ".jsonl":
            yield schema.read_record(path)
            return
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        with path.open("rb") as file:
            while raw := file.readline(schema.LARGEST + 1):
                number += 1
                yield schema.parsed(raw)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}, line {max(number, 1)}: expected a record of a run, found {error}; "
            "delete it, and run again what it was the record of"
        ) from error


def keep(records: Iterable[dict[str, Any]], out: str | Path) -> list[Path]:
    """Keep records for the tables, one JSON line each in ``out/<task>/<dataset>.jsonl``.

    A run replaces the kept run of the same method and seed on the same subtask; others stay. Attempts decide
    which run is the last, and not the clock; kept attempts are counted on. A line is printed if the
    configuration or the data change. Failed runs are kept too, so that a table can name them. Processes that
    keep in one folder wait for each other. What tests need of the runs' cells is kept too, see
    `cell_differences.write`.
    """
    out, records = Path(out), list(records)
    incoming: dict[Path, list[dict[str, Any]]] = {}
    for record in records:
        path = out / files.file_name(record["task"]) / files.file_name(record["dataset"], ".jsonl")
        incoming.setdefault(path, []).append(record)
    with files.claimed(out, "another process keeps records, waiting for it"):
        for path, fresh in incoming.items():
            _keep(path, fresh)
        for folder in sorted({path.parent for path in incoming}):
            cell_differences.write(folder / cell_differences.FILE, read([folder]), records)
    return sorted(incoming)


def _keep(path: Path, fresh: list[dict[str, Any]]) -> None:
    kept = list(lines(path)) if path.exists() else []
    before = max([record.get("attempt") or 0 for record in kept], default=0)
    known, last = {_content(record) for record in kept}, _last(kept)
    for key, record in _last(fresh).items():
        if _content(record) not in known:
            _tell_replaced(last.get(key, record), record)
            last[key] = record | {"attempt": before + (record.get("attempt") or 0)}
    with files.whole(path) as partial:
        rows = (json.dumps(last[key], sort_keys=True) + "\n" for key in sorted(last, key=sortable))
        partial.write_text("".join(rows))


def _last(records: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in sorted(records, key=turn):
        key = tuple(record[name] for name in ("task", "dataset", "subtask", "method", "seed"))
        _tell_replaced(last.get(key, record), record)
        last[key] = record
    return last


def _content(record: dict[str, Any]) -> str:
    return json.dumps(record | {"attempt": None}, sort_keys=True)


def turn(record: dict[str, Any]) -> tuple[bool, int, str, str]:
    """A key that sorts kept runs before those of a folder of runs, and each by the number of their attempt.

    Each folder counts its own attempts, and a run replaces a kept one. Older records have no number; they
    sort by time.
    """
    fresh = getattr(record, "where", Path()).name == RECORD
    stamp = str(record.get("finished", ""))
    return fresh, record.get("attempt") or 0, stamp, json.dumps(record, sort_keys=True)


def _tell_replaced(old: dict[str, Any], new: dict[str, Any]) -> None:
    for what, key in (("configuration", "config_hash"), ("data", "data_hash")):
        one, other = (str(r.get(key))[:12] for r in (old, new))
        if one != other:
            print(
                f"{new['task']} {new['dataset']} {new['subtask']} {new['method']} seed {new['seed']}: "
                f"{what} {one} ({old.get('finished')}) is replaced by {other} ({new.get('finished')})"
            )


def sortable(key: Iterable[Any]) -> tuple[tuple[bool, Any], ...]:
    """A key to sort by if seeds are numbers in one record and text in another: numbers come first."""
    return tuple((False, v) if isinstance(v, int | float) else (True, str(v)) for v in key)
