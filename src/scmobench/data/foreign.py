"""The door for files of anybody's: no HDF5 file of a user's is read before it has been inspected.

`inspection` looks through a file in a process of its own, which may crash, or be ended, without harm. What it
has read to the end is then read here, as far as it is needed; every matrix passes `checked_matrix`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil
from anndata import AnnData, OldFormatWarning
from anndata.io import read_elem

from scmobench.data.declared import ARRAYS, TENX_NAMES, UNS, one_line, sparse_layout
from scmobench.data.feature_types import needed
from scmobench.data.matrix import checked_matrix, compressed

SECONDS = 300.0  # that an inspection may take; $SCMOBENCH_READ_SECONDS for slow disks
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
WHAT = {"h5ad": "an h5ad file", "h5mu": "an h5mu file", "tenx": "Cell Ranger's feature-barcode h5 file"}


def read_h5ad(*paths: Path, layer: str | None = None, factors: str = "") -> list[AnnData]:
    """X, obs, var, of uns what the suite uses (`UNS`), and ``layer``, else the layer counts if there is one.

    ``factors`` : name of matrices in obsm and varm that are read, too, where there are some.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : no h5ad, damaged, with values in other files, or larger than half of the free memory.
    """
    jobs = [_job(path, "h5ad", layer) for path in paths]
    for job in jobs if factors else ():
        job["matrices"] += [f"obsm/{factors}", f"varm/{factors}"]
    return _read(jobs, _cells)


def read_scored(solution: Path, *predictions: Path) -> list[AnnData]:
    """A solution and predictions of its cells; what is too large to be one is not read.

    Of predictions X, ``obsm["X_emb"]`` and the names of rows and columns are read.

    Raises
    ------
    FileNotFoundError, ValueError : as of `read_h5ad`.
    """
    jobs = [_job(solution, "h5ad") | {"matrices": ["X"]}]
    for path in predictions:
        jobs.append(_job(path, "h5ad") | {"matrices": ["X", "obsm/X_emb"], "tables": False})
    return _read(jobs, _cells, scored=True)


def read_h5mu(
    path: Path, *, kind: str | None = None, layer: str | None = None
) -> tuple[dict[str, AnnData | None], pd.DataFrame]:
    """All modalities of an h5mu file by name, and the table of all cells.

    One that is not `needed` is not read: None.

    Raises
    ------
    FileNotFoundError, ValueError : as of `read_h5ad`.
    """

    def read(file: h5py.File, job: dict[str, Any]) -> tuple[dict[str, AnnData | None], pd.DataFrame]:
        mods, known = file["mod"], needed(file["mod"], kind)
        cells = {name: _cells(mods[name], job) if name in known else None for name in mods}
        return cells, _element(file["obs"])

    return _read([_job(path, "h5mu", layer) | {"modality": kind}], read)[0]


def read_tenx(path: Path) -> AnnData:
    """Cell Ranger's ``filtered_feature_bc_matrix.h5``: X, names of cells and features, feature types.

    Raises
    ------
    FileNotFoundError, ValueError : as of `read_h5ad`.
    """

    def read(file: h5py.File, job: dict[str, Any]) -> AnnData:
        group = file["matrix"]
        arrays = (group[name][()] for name in ARRAYS)
        X = compressed(*arrays, group["shape"][()][::-1], 0, job["path"])  # it is stored features x cells
        cells, names, types = (group[name].asstr("utf-8")[()] for name in TENX_NAMES)
        return AnnData(X, pd.DataFrame(index=cells), pd.DataFrame({"feature_types": types}, index=names))

    return _read([_job(path, "tenx")], read)[0]


def check_file(path: Path, what: str = "a file") -> None:
    """Refuse what is no plain file: a pipe or a device may never end.

    Raises
    ------
    FileNotFoundError : there is nothing.
    ValueError : there is a folder, a pipe or a device.
    """
    if path.is_file():
        return
    if not path.exists():
        raise FileNotFoundError(f"expected {what} at {path}, found none; give its full path")
    found = "a folder" if path.is_dir() else "a pipe or a device; write what it holds into a file first"
    raise ValueError(f"expected {what} at {path}, found {found}")


def memory_share() -> int:
    """Bytes that what is read may take: half of what is free here, or of what a container may have."""
    free = psutil.virtual_memory().available
    for limit in CGROUPS:
        with suppress(OSError, ValueError):  # there is none, or it says "max"
            free = min(free, int(Path(limit).read_text()))
    return free // 2


def _job(path: Path, kind: str, layer: str | None = None) -> dict[str, Any]:
    """What is wanted of a file, in the words of `declared.Plan`."""
    matrices = ["X", f"layers/{layer or 'counts'}"]
    return {"path": str(path), "kind": kind, "matrices": matrices, "layer": layer, "tables": True}


def _read(jobs: list[dict[str, Any]], reader: Callable[..., Any], *, scored: bool = False) -> list[Any]:
    """Inspect the files, read them, and see that they are still the same."""
    before = tuple(_identity(job) for job in jobs)
    _inspect(json.dumps({"scored": scored, "files": jobs}), before)
    read = []
    for job in jobs:
        try:
            with h5py.File(job["path"], "r") as file:
                read.append(reader(file, job))
        except Exception as error:
            what = f"expected {WHAT[job['kind']]} at {job['path']}, found one that cannot be read"
            raise ValueError(f"{what}: {one_line(error)}") from error
    for job, identity in zip(jobs, before, strict=True):
        if _identity(job) != identity:
            raise ValueError(f"{job['path']} changed while it was read; try again when it is written")
    return read


def _identity(job: dict[str, Any]) -> tuple[int, ...]:
    """What tells the content of a plain file from another one's."""
    path = Path(job["path"])
    check_file(path, WHAT[job["kind"]])
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        plain = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"unpacked_{path.name}")
        command = f"gunzip -c {shlex.quote(str(path))} > {shlex.quote(str(plain))}"
        raise ValueError(f"expected {WHAT[job['kind']]} at {path}, found it zipped; unpack it: {command}")
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=256)
def _inspect(job: str, identity: tuple[Any, ...]) -> None:
    """Run `inspection` on the files of a job, once for each content.

    Raises
    ------
    ValueError : the files must not be read here; says why.
    """
    files = {"memory": memory_share()} | json.loads(job)
    # one thread: it calculates nothing, and each thread reserves memory
    given = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "scmobench.data.inspection"]
    pipes = {"input": json.dumps(files), "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        done = subprocess.run(command, env=os.environ | given, timeout=_seconds(), check=False, **pipes)
    except subprocess.TimeoutExpired as late:
        place, _ = _told(late.stdout or b"")
        raise ValueError(
            f"{place} was not read within {_seconds():g} seconds: it is damaged, or the disk is slow "
            "(SCMOBENCH_READ_SECONDS sets another limit)"
        ) from None
    if done.returncode:
        place, error = _told(done.stdout)
        if done.returncode > 0 and not error:
            raise RuntimeError(f"the inspection of files failed: {done.stderr}")
        raise ValueError(error or f"{place} crashed the HDF5 library: the file is damaged; write it anew")


def _told(output: str | bytes) -> tuple[str, str]:
    """Where the inspection has come to, and its error if it ended with one."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output
    told: dict[str, Any] = {}
    for line in text.splitlines():
        with suppress(json.JSONDecodeError):  # the last one may be cut off
            told |= json.loads(line)
    path, at = told.get("path", "a file"), told.get("at", "")
    error = told.get("error", "")
    if error and not told["refused"]:
        what = WHAT.get(told.get("kind", ""), "a file")
        error = (
            f"expected {what} at {path}, found one that cannot be read{f' in {at}' if at else ''}: {error}"
        )
    elif error:
        error = f"{path}: {error}"
    return f"{at} of {path}" if at else path, error


def _seconds() -> float:
    given = os.environ.get("SCMOBENCH_READ_SECONDS", SECONDS)
    try:
        return float(given)
    except ValueError:
        raise ValueError(f"expected a number of seconds as SCMOBENCH_READ_SECONDS, found {given!r}") from None


def _cells(group: h5py.Group, job: dict[str, Any]) -> AnnData:
    """An AnnData of what the job wants of an h5ad file, or of one modality."""
    held = {name: _matrix(group[name], job["path"]) for name in job["matrices"] if name in group}
    X = held.pop("X", None)
    parts: dict[str, dict[str, Any]] = {"layers": {}, "obsm": {}, "varm": {}}
    for name, matrix in held.items():
        room, key = name.split("/", 1)
        parts[room][key] = matrix
    tables = [_element(group[table]) if job["tables"] else _names(group[table]) for table in ("obs", "var")]
    stored = group.get("uns", {})
    uns = {key: _element(stored[key]) for key in UNS if key in stored}
    return AnnData(X, *tables, uns=uns, **parts)


def _matrix(item: h5py.Group | h5py.Dataset, path: str) -> Any:
    """A dense or sparse matrix, checked; None where the file says that there is none."""
    where = f"{path} {item.name}"
    if isinstance(item, h5py.Dataset):
        return None if item.shape is None else checked_matrix(item[()], where)
    shape, axis = sparse_layout(item)
    return compressed(*(item[name][()] for name in ARRAYS), shape, axis, where)


def _names(table: h5py.Group) -> pd.DataFrame:
    """The names of the rows alone."""
    return pd.DataFrame(index=_element(table[table.attrs["_index"]]))


def _element(item: h5py.Group | h5py.Dataset) -> Any:
    with warnings.catch_warnings():  # the competition's files of 2021 predate anndata 0.8's encoding
        warnings.simplefilter("ignore", OldFormatWarning)
        found = read_elem(item)
    for column, dtype in found.dtypes.items() if isinstance(found, pd.DataFrame) else ():
        if isinstance(dtype, np.dtype) and not dtype.isnative:  # pandas takes no rows of it
            found[column] = found[column].to_numpy().astype(dtype.newbyteorder("="))
    return found
