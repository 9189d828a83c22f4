"""Read HDF5 files from outside; each is inspected before it is read.

`inspection` reads through the file in a separate process, which may crash or be stopped without harm. Only
then is the file read here, as far as it is needed; every matrix passes `checked_matrix`.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil
from anndata import AnnData, OldFormatWarning
from anndata.io import read_elem

from scmobench.data.declared import ARRAYS, TENX_NAMES, UNS, Wanted, index_name, one_line, sparse_layout, text
from scmobench.data.feature_types import needed
from scmobench.data.matrix import checked_matrix, compressed
from scmobench.data.other_kinds import BEGINS, refuse_other
from scmobench.machine.memory import machine_gb

SECONDS = 300.0  # that an inspection may take; $SCMOBENCH_READ_SECONDS for slow disks
WHAT = {"h5ad": "an h5ad file", "h5mu": "an h5mu file", "tenx": "Cell Ranger's feature-barcode h5 file"}


def read_h5ad(*paths: Path, layer: str | None = None, factors: str = "") -> list[AnnData]:
    """X, obs, var, the used entries of uns, ``layer``, and the layer ``counts`` where it exists.

    ``factors`` names matrices, or a table, of obsm and varm to read as well, where they exist. Raises
    FileNotFoundError if there is no such file, and ValueError if it is no h5ad file, damaged, stored in other
    files, or larger than half of the free memory.
    """
    more = (f"obsm/{factors}", f"varm/{factors}") if factors else ()
    files = [_wanted(path, "h5ad", layer) for path in paths]
    return _read([replace(file, matrices=(*file.matrices, *more)) for file in files], _cells)


def read_scored(solution: Path, *predictions: Path) -> list[AnnData]:
    """A solution and its predictions; a large file that cannot be a prediction is not read.

    Of predictions, X, ``obsm["X_emb"]``, the names of rows and columns, and whether columns have
    ``feature_types`` are read.
    """
    files = [Wanted(str(solution), matrices=("X",))]
    files += [Wanted(str(path), matrices=("X", "obsm/X_emb"), tables=False) for path in predictions]
    return _read(files, _cells, scored=True)


def held(cells: AnnData | pd.DataFrame | str | Path) -> AnnData:
    """What is scored, in memory: AnnData, backed or not, a table with names, or a file."""
    if isinstance(cells, pd.DataFrame):
        names = (pd.DataFrame(index=list(map(str, axis))) for axis in cells.axes)
        return AnnData(checked_matrix(cells.to_numpy(), "the prediction"), *names)
    if isinstance(cells, AnnData):
        return cells.to_memory() if cells.isbacked else cells
    return read_scored(Path(cells))[0]


def read_h5mu(
    path: Path, *, kind: str | None = None, layer: str | None = None
) -> tuple[dict[str, AnnData | None], pd.DataFrame]:
    """Modalities of an h5mu file by name (None for those not `needed`), and the table of all cells."""

    def read(file: h5py.File, wanted: Wanted) -> tuple[dict[str, AnnData | None], pd.DataFrame]:
        mods, known = file["mod"], needed(file["mod"], kind)
        cells = {name: _cells(mods[name], wanted) if name in known else None for name in mods}
        return cells, _table(file["obs"])

    return _read([replace(_wanted(path, "h5mu", layer), modality=kind)], read)[0]


def read_tenx(path: Path) -> AnnData:
    """Cell Ranger's ``filtered_feature_bc_matrix.h5``: X, names of cells and features, feature types."""

    def read(file: h5py.File, wanted: Wanted) -> AnnData:
        group = file["matrix"]
        arrays = (group[name][()] for name in ARRAYS)
        X = compressed(*arrays, group["shape"][()][::-1], 0, wanted.path)  # stored as features x cells
        cells, names, types = (group[name].asstr("utf-8")[()] for name in TENX_NAMES)
        return AnnData(X, pd.DataFrame(index=cells), pd.DataFrame({"feature_types": types}, index=names))

    return _read([_wanted(path, "tenx")], read)[0]


def check_file(path: Path, what: str = "a file") -> None:
    """Refuse anything but a plain file: a pipe or a device may never end."""
    if os.path.isfile(path):  # False for a name that is too long, where `Path.is_file` raises OSError
        return
    if not os.path.exists(path):
        advice = "download it" if re.match(r"(https?|ftp|s3|gs):/", str(path)) else "give its full path"
        raise FileNotFoundError(f"expected {what} at {path}, found none; {advice}")
    refuse_other(path, b"", what)
    found = "a folder" if path.is_dir() else "a pipe or a device; write its content into a file first"
    raise ValueError(f"expected {what} at {path}, found {found}")


def memory_share() -> int:
    """Bytes that reading may take: half of the free memory of the machine or container."""
    return min(psutil.virtual_memory().available, int(machine_gb() * 1e9)) // 2


def _wanted(path: Path, kind: str, layer: str | None = None) -> Wanted:
    layers = dict.fromkeys(f"layers/{name}" for name in ("counts", layer) if name)
    return Wanted(str(path), kind, ("X", *layers), layer)


def _read(files: list[Wanted], reader: Callable[..., Any], *, scored: bool = False) -> list[Any]:
    """Inspect the files, read them, and check that they have not changed meanwhile."""
    before = tuple(_identity(file) for file in files)
    _inspect(json.dumps({"scored": scored, "files": [asdict(file) for file in files]}), before)
    read = []
    for wanted in files:
        try:
            with h5py.File(wanted.path, "r") as file:
                read.append(reader(file, wanted))
        except Exception as error:
            expected = f"expected {WHAT[wanted.kind]} at {wanted.path}"
            raise ValueError(f"{expected}, found one that cannot be read: {one_line(error)}") from error
    for wanted, identity in zip(files, before, strict=True):
        if _identity(wanted) != identity:
            raise ValueError(f"{wanted.path} changed while it was read; try again once it is complete")
    return read


def _identity(wanted: Wanted) -> tuple[int, ...]:
    """Tells one content of a plain file from another."""
    path, what = Path(wanted.path), WHAT[wanted.kind]
    check_file(path, what)
    with path.open("rb") as file:
        refuse_other(path, file.read(BEGINS), what)
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=256)
def _inspect(job: str, identity: tuple[Any, ...]) -> None:
    """Run `inspection` on the files of a job, once for each content."""
    files = {"memory": memory_share()} | json.loads(job)
    # One thread: the process calculates nothing, and every thread reserves memory.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "scmobench.data.inspection"]
    pipes = {"input": json.dumps(files), "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        done = subprocess.run(command, env=os.environ | environment, timeout=_seconds(), check=False, **pipes)
    except subprocess.TimeoutExpired as late:
        place, _ = _told((late.stdout or b"").decode(errors="replace"))
        raise ValueError(
            f"{place} was not read within {_seconds():g} seconds: it is damaged, or the disk is slow "
            "(SCMOBENCH_READ_SECONDS sets another limit)"
        ) from None
    if done.returncode:
        place, error = _told(done.stdout)
        if done.returncode > 0 and not error:
            raise RuntimeError(f"the inspection of files failed: {done.stderr}")
        raise ValueError(error or f"{place} crashed the HDF5 library: the file is damaged; write it again")


def _told(output: str) -> tuple[str, str]:
    """The last place that the inspection reported, and its error if it ended with one."""
    told: dict[str, Any] = {}
    for line in output.splitlines():
        with suppress(json.JSONDecodeError):  # the last line may be cut off
            told |= json.loads(line)
    path, at, error = (told.get(key, "") for key in ("path", "at", "error"))
    if error and told["refused"]:
        error = f"{path}: {error}"
    elif error:
        where = f" in {at}" if at else ""
        what = WHAT.get(told.get("kind", ""), "a file")
        error = f"expected {what} at {path}, found one that cannot be read{where}: {error}"
    return f"{at} of {path}" if at else path or "a file", error


def _seconds() -> float:
    given = os.environ.get("SCMOBENCH_READ_SECONDS", SECONDS)
    with suppress(ValueError):
        if 0 < (seconds := float(given)) < 1e6:
            return seconds
    raise ValueError(f"expected seconds above 0 as SCMOBENCH_READ_SECONDS, found {given!r}: take e.g. 600")


def _cells(group: h5py.Group, wanted: Wanted) -> AnnData:
    """The wanted parts of an h5ad file, or of one modality, as an AnnData."""
    parts: dict[str, dict[str, Any]] = {"X": {}, "layers": {}, "obsm": {}, "varm": {}}
    for name in wanted.matrices:
        if name in group:
            room, _, key = name.partition("/")
            parts[room][key] = _matrix(group[name], wanted.path)
    X = parts.pop("X").get("")
    tables = [_table(group[name], wanted.tables) for name in ("obs", "var")]
    stored = group.get("uns", {})
    return AnnData(X, *tables, uns={key: _part(stored, key) for key in UNS if key in stored}, **parts)


def _matrix(item: h5py.Group | h5py.Dataset, path: str) -> Any:
    """A checked matrix, dense or sparse; None where the file stores that there is none."""
    where = f"{path} {item.name}"
    if isinstance(item, h5py.Dataset):
        return None if item.shape is None else checked_matrix(item[()], where)
    if "column-order" in item.attrs:
        return _table(item)
    _, shape, axis = sparse_layout(item)
    return compressed(*(item[name][()] for name in ARRAYS), shape, axis, where)


def _table(table: h5py.Group, whole: bool = True) -> pd.DataFrame:
    """A table that anndata wrote, or R, which may state neither encodings nor the order of columns."""
    index = index_name(table)
    names = pd.Index(_part(table, index), name=None if index == "_index" else index)
    if not whole:
        return pd.DataFrame(dict.fromkeys({"feature_types"} & {*table}, ""), names)  # that there are some
    order = table.attrs.get("column-order", [name for name in table if name not in (index, "__categories")])
    columns = {name: _part(table, name) for name in map(text, order)}
    return pd.DataFrame(columns, names, list(columns) or None)


def _part(group: h5py.Group, name: str) -> Any:
    """A column of a table, or an element of another group."""
    item = group[name]
    words = group.get(item.attrs.get("categories", f"__categories/{name}"))  # before anndata 0.8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldFormatWarning)
        found, words = (None if stored is None else read_elem(stored) for stored in (item, words))
    if isinstance(found, np.ndarray):  # pandas cannot select rows of a column of a foreign byte order
        found = found.astype(found.dtype.newbyteorder("="))
        return found if words is None else pd.Categorical.from_codes(found, words)
    return found
