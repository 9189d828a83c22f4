"""Records: one JSON a run, written whole or not at all, that says what was run and what came out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

PACKAGES = (
    "scmobench numpy scipy pandas scikit-learn anndata scanpy scib igraph "
    "torch torch-geometric lightning harmonypy mofapy2 scvi-tools"
)
PREDICTION, RECORD = "prediction.h5ad", "record.json"


def versions() -> dict[str, str]:
    """What can change a score: versions of Python and of the packages that compute it, the processor."""
    found = {"python": platform.python_version(), "processor": processor()}
    for package in PACKAGES.split():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's model as far as the system says it: another one rounds otherwise."""
    info = Path("/proc/cpuinfo")
    facts = dict(re.findall(r"^(.+?)\s*: (.+)$", info.read_text(), re.M)) if info.is_file() else {}
    known = [facts[k] for k in ("model name", "cpu family", "model") if k in facts]
    return " / ".join(known) or platform.processor() or platform.machine()


def folder(runs: str | Path, identity: dict[str, Any]) -> Path:
    """Where a run lives: ``runs/task/dataset/subtask/method/config-data/seed-0``.

    A data set of the same name with other cells or another split is elsewhere: its runs neither replace
    these nor go on from their state. So is a run in portable arithmetic.
    """
    parts = [identity[k] for k in ("task", "dataset", "subtask", "method")]
    same = [identity["config_hash"], identity["data_hash"][:8]]
    same += ["portable"] if identity.get("arithmetic") == "portable" else []
    return Path(runs).joinpath(*parts, "-".join(same), f"seed-{identity['seed']}")


@contextlib.contextmanager
def claimed(where: Path) -> Iterator[None]:
    """Hold a run's folder: a process that comes to make the same run waits, and finds it finished.

    The hold ends with its process, be it killed.
    """
    where.mkdir(parents=True, exist_ok=True)
    lock = FileLock(where / "lock")
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print(f"another process makes this run, waiting for it: {where}", flush=True)
        held = lock.acquire()
    with held:
        yield


def finished(where: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the same run, if it ended well on the same data with this version."""
    record = _stored(where / RECORD)
    same = all(record.get(key) == value for key, value in identity.items())
    same &= (record.get("versions") or {}).get("scmobench") == version("scmobench")
    return record if same and record.get("status") == "ok" and (where / PREDICTION).is_file() else None


def _stored(path: Path) -> dict[str, Any]:
    """A record; empty where there is none or the file is damaged, so that its run is made again."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def training_folder(where: Path, fresh: bool) -> Path:
    """Where training logs and the state that a killed run resumes from lie; emptied on demand."""
    training = where / "training"
    if fresh and training.is_dir():
        shutil.rmtree(training)
    return training


def prediction_hash(prediction: Any) -> str:
    """sha256 of a prediction's values; equal for equal matrices of the same storage."""
    matrix = prediction.X
    parts = (matrix.indptr, matrix.indices, matrix.data) if hasattr(matrix, "indptr") else (matrix,)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def scores_of_same(siblings: Path, known: dict[str, Any]) -> dict[str, Any] | None:
    """Scores and interval of another seed's identical prediction of the same data, same versions.

    Damaged records of other seeds are passed over.
    """
    same = ("prediction_hash", "data_hash", "config_hash", "versions")
    for path in sorted(siblings.glob(f"seed-*/{RECORD}")):
        record = _stored(path)
        whole = record.get("status") == "ok" and {"scores", "interval"} <= record.keys()
        if whole and all(record.get(key) == known[key] for key in same):
            return {key: record[key] for key in ("scores", "interval")}
    return None


def writable(runs: str | Path) -> None:
    """Make the folder of runs and try to write there, before anything is computed.

    Raises
    ------
    OSError : it cannot be written.
    """
    try:
        Path(runs).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise OSError(
            f"expected a folder for runs that can be written at {runs}, found {error}; "
            "name another by runs=FOLDER"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write by rename, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n")
    os.replace(partial, path)


def write_prediction(path: Path, prediction: Any) -> None:
    """Write an AnnData by rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    prediction.write_h5ad(partial, compression="gzip")
    os.replace(partial, path)


def write_failure(runs: str | Path, attempt: dict[str, Any], error: Exception) -> None:
    """Leave a failed record, so that a table can say that a run was tried and why it has no score.

    It never replaces the record of a run that ended well: it lies in ``runs/failed``.
    """
    record = attempt | {
        "status": "failed",
        "message": f"{type(error).__name__}: {error}",
        "subtask": attempt.get("subtask") or attempt["direction"],
        "finished": now(),
        "versions": versions(),
    }
    write_json(_failure(runs, attempt), record)


def clear_failure(runs: str | Path, record: dict[str, Any]) -> None:
    """Remove the failed record of a run that has now ended well."""
    _failure(runs, record).unlink(missing_ok=True)


def _failure(runs: str | Path, run: dict[str, Any]) -> Path:
    parts = [str(run[k]) for k in ("dataset", "direction", "method", "seed")]
    parts += filter(None, [(run.get("config") or {}).get("score_on")])
    return Path(runs) / "failed" / run["task"] / "-".join(parts) / RECORD


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(folders: Iterable[str | Path]) -> list[dict[str, Any]]:
    """All records below some folders: ``record.json`` of runs and ``*.jsonl`` of kept results.

    Runs that were scored to choose settings (``score_on`` other than ``test``) are left out of every table.

    Raises
    ------
    FileNotFoundError : a folder does not exist.
    ValueError : a file is not a record; says which.
    """
    records = []
    for where in map(Path, folders):
        if not where.is_dir():
            raise FileNotFoundError(
                f"expected a folder of records at {where}: run something first, e.g. make reproduce"
            )
        for path in sorted([*where.rglob(RECORD), *where.rglob("*.jsonl")]):
            records.extend(r for r in _lines(path) if "score_on" not in (r.get("config") or {}))
    return records


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(errors="replace")
    for number, line in enumerate(text.splitlines() if path.suffix == ".jsonl" else [text], 1):
        try:
            record = json.loads(line)
            _key(record), record["status"], record["task"], record["dataset"], record["method"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a record of a run, found {line[:60]!r}; "
                "delete it, and run again what it was the record of"
            ) from error
        yield record


def keep(records: Iterable[dict[str, Any]], out: str | Path) -> list[Path]:
    """Keep records for the tables: one JSON line each in ``out/<task>/<dataset>.jsonl``.

    A run replaces the kept run of the same method and seed on the same subtask; others stay. Of several
    the last finished one is kept, and where another configuration gives way to it, a line says so.
    Failed runs are kept too, so that a table can say so.
    """
    out = Path(out)
    incoming: dict[Path, list[dict[str, Any]]] = {}
    for record in records:
        incoming.setdefault(out / record["task"] / f"{record['dataset']}.jsonl", []).append(record)
    for path, fresh in incoming.items():
        kept = list(_lines(path)) if path.is_file() else []
        last: dict[tuple, dict[str, Any]] = {}
        for record in sorted([*kept, *fresh], key=lambda r: str(r.get("finished", ""))):
            _tell_replaced(last.get(_key(record), record), record)
            last[_key(record)] = record
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        lines = (json.dumps(last[key], sort_keys=True) + "\n" for key in sorted(last, key=sortable))
        partial.write_text("".join(lines))
        os.replace(partial, path)
    return sorted(incoming)


def _tell_replaced(old: dict[str, Any], new: dict[str, Any]) -> None:
    for what, key in (("configuration", "config_hash"), ("data", "data_hash")):
        one, other = (str(r.get(key))[:12] for r in (old, new))
        if one != other:
            print(
                f"{new['task']} {new['dataset']} {new['subtask']} {new['method']} seed {new['seed']}: "
                f"{what} {one} ({old.get('finished')}) is replaced by {other} ({new.get('finished')})"
            )


def _key(record: dict[str, Any]) -> tuple[str, str, int]:
    return record["subtask"], record["method"], record["seed"]


def sortable(key: Iterable[Any]) -> tuple[tuple[bool, Any], ...]:
    """A key to sort by, also where seeds are numbers in one record and text in another: numbers first."""
    return tuple((False, v) if isinstance(v, int | float) else (True, str(v)) for v in key)


class Meter:
    """Seconds and peak memory of a block of work.

    On Linux the kernel's high-water mark is reset at the start, so that each run of a sweep has
    its own; elsewhere the peak is that of the whole process so far.
    """

    def __enter__(self) -> Meter:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = round(time.perf_counter() - self._start, 3)
        self.peak_memory_gb = round(_peak_bytes() / 1e9, 3)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
