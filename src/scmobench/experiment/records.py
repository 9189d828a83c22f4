"""Records: one JSON file for each run, written whole or not at all, with what was run and what came out."""

import hashlib
import json
import platform
import re
import shutil
import subprocess
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from scmobench.experiment import schema
from scmobench.machine import files
from scmobench.machine.gpu import cuda

PACKAGES = (
    "scmobench numpy scipy pandas scikit-learn anndata scanpy scib igraph "
    "torch torch-geometric lightning harmonypy mofapy2 scvi-tools"
)
PREDICTION, RECORD, CELLS, TRAINING = "prediction.h5ad", "record.json", "cells.npy", "training"
# fields of a finished run that an ensemble reads from its members
WHOLE = {"scores", "interval", "seconds", "peak_memory_gb", "validation", "parameters", "device", "protocol"}
WHOLE |= {"transductive", "label_supervised"}


def versions() -> dict[str, str]:
    """What can change a score: versions of Python and of the packages that compute it, processor and GPU."""
    found = {"python": platform.python_version(), "processor": processor()}
    if card := cuda():
        found["gpu"] = card.get_device_name()
    for package in PACKAGES.split():
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def commit() -> str:
    """The git commit of the code, with ``-dirty`` after changes; empty for an installed package."""
    place = Path(__file__).parent
    git = ["git", "-C", str(place)]
    with suppress(OSError, subprocess.CalledProcessError):
        # a package that is installed into somebody's project is no part of that project's commits
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], check=True, capture_output=True)
        described = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    return ""


def processor() -> str:
    """The processor's model, as far as the system tells it: another processor rounds otherwise."""
    info = Path("/proc/cpuinfo")
    facts = dict(re.findall(r"^(.+?)\s*: (.+)$", info.read_text(), re.M)) if info.is_file() else {}
    known = [facts[k] for k in ("model name", "cpu family", "model") if k in facts]
    return " / ".join(known) or platform.processor() or platform.machine()


def folder(runs: str | Path, identity: dict[str, Any]) -> Path:
    """Where a run lies: ``runs/task/dataset/subtask/method/config-data/seed-0``.

    A data set of the same name with other cells or another split has other folders, and so has portable
    arithmetic. Their runs neither replace these nor continue from their state.
    """
    parts = [files.file_name(identity[k]) for k in ("task", "dataset", "subtask", "method")]
    same = [identity["config_hash"], identity["data_hash"][:8]]
    same += ["portable"] if identity.get("arithmetic") == "portable" else []
    return Path(runs).joinpath(*parts, "-".join(same), f"seed-{identity['seed']}")


def claimed(where: Path) -> AbstractContextManager[None]:
    """Hold a run's folder: a process that comes to make the same run waits, and then finds it finished."""
    return files.claimed(where, "another process makes this run, waiting for it")


def finished(where: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a run with this identity, if it ended well in this version of the package."""
    record = _stored(where / RECORD)
    same = all(record.get(key) == value for key, value in identity.items())
    same &= (record.get("versions") or {}).get("scmobench") == version("scmobench")
    same &= record.get("status") == "ok" and record.keys() >= WHOLE
    return record if same and _readable(where / PREDICTION) else None


def _readable(path: Path) -> bool:
    """Whether there is an HDF5 file that is not cut off."""
    try:
        with h5py.File(path):
            return True
    except OSError:
        return False


def _stored(path: Path) -> dict[str, Any]:
    """A record; empty if there is none or the file is damaged, so that its run is made again."""
    try:
        return schema.read_record(path)
    except (OSError, ValueError):
        return {}


def training_folder(where: Path, identity: dict[str, Any], fresh: bool) -> Path:
    """Folder of training logs, and of the state from which a killed run resumes.

    It is emptied if ``fresh``, or if it belongs to a run with another identity, e.g. of other code.
    """
    training = where / TRAINING
    begun, same = training / "identity.json", as_json(identity)
    with suppress(OSError, ValueError):
        fresh |= begun.read_text() != same
    if training.is_dir() and (fresh or not begun.is_file()):
        shutil.rmtree(training)
    with files.whole(begun) as partial:
        partial.write_text(same)
    return training


def prediction_hash(prediction: Any) -> str:
    """sha256 of a prediction's values: equal for equal matrices in the same storage."""
    matrix = prediction.X
    parts = (matrix.indptr, matrix.indices, matrix.data) if hasattr(matrix, "indptr") else (matrix,)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def scores_of_same(siblings: Path, known: dict[str, Any]) -> dict[str, Any] | None:
    """Scores and interval of another seed's identical prediction from the same data, versions and code."""
    same = ("prediction_hash", "data_hash", "config_hash", "versions", "code")
    for path in sorted(siblings.glob(f"seed-*/{RECORD}")):
        record = _stored(path)
        whole = record.get("status") == "ok" and {"scores", "interval"} <= record.keys()
        if whole and all(record.get(key) == known.get(key) for key in same):
            return {key: record[key] for key in ("scores", "interval")}
    return None


def attempts(runs: str | Path, run: dict[str, Any]) -> int:
    """Attempts so far at this method and seed on this data set, with any settings.

    Each record counts the attempts before it, so that the last attempt is known without a clock.
    """
    home = Path(runs) / files.file_name(run["task"]) / files.file_name(run["dataset"])
    method, seed = files.file_name(run["method"]), f"seed-{run['seed']}"
    places = [place / seed for subtask in home.glob("*") for place in (subtask / method).glob("*")]
    found = [_stored(place / RECORD) for place in places] + [_stored(_failure(runs, run))]
    return max(record.get("attempt") or 0 for record in found)


def write_json(path: Path, content: Any) -> None:
    """Write by rename, so that a reader never meets half a file."""
    with files.whole(path) as partial:
        partial.write_text(as_json(content) + "\n")


def as_json(content: Any) -> str:
    plain = lambda value: value.item() if isinstance(value, np.generic) else str(value)  # noqa: E731
    return json.dumps(content, indent=1, sort_keys=True, default=plain)


def write_record(where: Path, record: dict[str, Any]) -> None:
    """Write a record into its folder. Raises ValueError for a field that readers would refuse."""
    try:
        schema.parsed(as_json(record).encode())
    except ValueError as error:
        raise ValueError(
            f"expected a record of a run to write, found {error}: correct what report() returns"
        ) from error
    write_json(where / RECORD, record)


def write_prediction(path: Path, prediction: Any) -> None:
    """Write an AnnData by rename. Raises OSError if it cannot be written.

    HDF5 makes the file in memory, because it would print tracebacks or crash on a full disk.
    """
    from anndata.io import write_elem

    prediction.strings_to_categoricals()
    with h5py.File(path.name, "w", driver="core", backing_store=False, block_size=1 << 24) as content:
        write_elem(content, "/", prediction, dataset_kwargs={"compression": "gzip"})
        content.flush()
        image = content.id.get_file_image()
    with files.whole(path) as partial:
        partial.write_bytes(image)


def write_cells(where: Path, scores: np.ndarray | None) -> None:
    """Write the scores of the test cells beside the prediction; nothing where there are none."""
    if scores is not None:
        with files.whole(where / CELLS) as partial, partial.open("wb") as file:
            np.save(file, scores)


def write_failure(runs: str | Path, attempt: dict[str, Any], error: BaseException) -> str:
    """Leave a failed record below ``runs/failed``, so that a table can say why a run has no score.

    It never replaces the record of a run that ended well. If it cannot be written, e.g. on a full disk, the
    returned text says so; else the text is empty.
    """
    record = attempt | {
        "status": "failed",
        "message": f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode(),
        "subtask": attempt.get("subtask") or attempt["direction"],
        "finished": now(),
        "versions": versions(),
        "attempt": attempts(runs, attempt) + 1,
    }
    path = _failure(runs, attempt)
    try:
        with files.claimed(path.parent, "another process writes this failure, waiting for it"):
            write_json(path, record)
    except OSError as lost:
        return f"(no failed record of it could be written: {lost.strerror or lost.__cause__})"
    return ""


def clear_failure(runs: str | Path, record: dict[str, Any]) -> None:
    """Remove the failed record of a run that has now ended well."""
    _failure(runs, record).unlink(missing_ok=True)


def _failure(runs: str | Path, run: dict[str, Any]) -> Path:
    parts = [files.file_name(str(run[k])) for k in ("task", "dataset", "direction", "method")]
    last = [f"seed-{run['seed']}", *filter(None, [(run.get("config") or {}).get("score_on")])]
    return Path(runs).joinpath("failed", *parts, files.file_name("-".join(last)), RECORD)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
