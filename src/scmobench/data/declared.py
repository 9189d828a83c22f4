"""What an HDF5 file declares of the matrices and tables in it: shapes, types, bytes. No value is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from scmobench.data.feature_types import needed
from scmobench.data.matrix import unreal

TABLE_VALUES = 10**6  # a column may be so long, or as long as the table
TEXT = 2**10  # bytes of a name or label
UNS = ("dataset_id", "protocol", "subtask", "organism", "source", "pairing_ix")
FORMATS = {"csr_matrix": 0, "csr": 0, "csc_matrix": 1, "csc": 1}  # name: which axis the pointers are of
ARRAYS = ("data", "indices", "indptr")
TENX_NAMES = ("barcodes", "features/name", "features/feature_type")


class Refusal(ValueError):  # noqa: N818  (an answer, not a failure)
    """The file can be read, and must not be; the message says what is wrong and what to do."""


class Plan:
    """What of a file will be read: datasets, sparse matrices, their declared bytes.

    Attributes
    ----------
    shape : declared cells x features (of the last table asked for).
    """

    def __init__(self, file: h5py.File, wanted: dict[str, Any]) -> None:
        self.wanted, self.shape = wanted, (0, 0)
        self.datasets: list[h5py.Dataset] = []
        self.sparse: list[tuple[str, h5py.Group, tuple[int, int], int]] = []
        if wanted["kind"] == "tenx":
            self._tenx(file)
        elif wanted["kind"] == "h5mu":
            if "mod" not in file or "obs" not in file:
                raise ValueError(f"expected groups `mod` and `obs`, found {list(file)[:5]}")
            for name in needed(file["mod"], wanted["modality"]):
                self._anndata(file["mod"][name])
            self._table(file["obs"])
        else:
            self._anndata(file)
        self.bytes = sum(map(size, self.datasets))

    def _anndata(self, group: h5py.Group) -> None:
        whole = self.wanted["tables"]
        for name in ("obs", "var"):
            if name not in group:
                raise ValueError(f"expected groups X, obs and var, found {list(group)[:5]}")
        self.shape = tuple(self._table(group[name], whole) for name in ("obs", "var"))
        if (layer := self.wanted["layer"]) and f"layers/{layer}" not in group:
            raise Refusal(
                f"no layer {layer!r} in {group.name}, it has {list(group.get('layers', ()))}; both modalities"
                f" need it: where X holds it already, write the file again with layers[{layer!r}] = X"
            )
        for name in self.wanted["matrices"]:
            if name in group:
                axes = {"obsm": self.shape[:1], "varm": self.shape[1:]}.get(name.split("/")[0], self.shape)
                self._matrix(group[name], axes)
        for name in UNS if "uns" in group else ():
            if name in group["uns"]:
                self._small(group["uns"][name], max(self.shape))

    def _table(self, table: Any, whole: bool = True) -> int:
        """Number of rows; the table is planned, or where not ``whole`` its names alone."""
        if isinstance(table, h5py.Dataset):
            raise Refusal(
                f"{table.name} is in the form of anndata before 0.7 (2020): write it anew, "
                "anndata.read_h5ad(old).write_h5ad(new)"
            )
        index = table.get(_text(table.attrs.get("_index", "_index")))
        names = index.get("values") if isinstance(index, h5py.Group) else index
        if not isinstance(names, h5py.Dataset) or names.shape is None or names.ndim != 1:
            raise Refusal(f"expected a list of names as the index of {table.name}, found none")
        self._small(table if whole else index, len(names))
        for name in table if whole else ():
            if isinstance(table[name], h5py.Dataset) and table[name].shape != names.shape:
                raise Refusal(
                    f"expected {len(names)} values in {table.name}/{name}, it declares {table[name].shape}"
                )
        return len(names)

    def _small(self, item: Any, rows: int) -> None:
        """Plan all below ``item``, of which nothing may be longer than a table is."""
        for dataset in _datasets(item):
            if size(dataset) > TEXT * max(rows, TABLE_VALUES):
                raise Refusal(
                    f"{dataset.name} declares {gigabytes(size(dataset))}, more than {rows} rows need"
                )
            self.datasets.append(dataset)

    def _matrix(self, item: Any, axes: tuple[int, ...]) -> None:
        """Plan a dense or sparse matrix; ``axes``: its length, and its width where that is not free."""
        where = item.name
        if isinstance(item, h5py.Dataset) and item.shape is None:  # "there is none", as anndata writes it
            return
        if isinstance(item, h5py.Dataset):
            values, shape = item, item.shape
        else:
            shape, axis = sparse_layout(item)
            values = item["data"]
            self._plan_sparse(where, item, shape, axis)
        if len(shape) != 2 or shape[: len(axes)] != axes:
            raise Refusal(
                f"{where} declares the shape {shape}, obs and var have {self.shape[0]} cells and "
                f"{self.shape[1]} features"
            )
        if said := unreal(values.dtype, where):
            raise Refusal(said)
        if item is values:
            self.datasets.append(item)

    def _plan_sparse(self, where: str, group: h5py.Group, shape: Any, axis: int) -> None:
        if len(shape) == 2 and group["data"].size > max(shape[0], 0) * max(shape[1], 0):
            raise Refusal(f"{where} declares {group['data'].size} values in a matrix of shape {shape}")
        self.sparse.append((where, group, shape, axis))
        self.datasets += [group[name] for name in ARRAYS]

    def _tenx(self, file: h5py.File) -> None:
        group = file.get("matrix")
        if not _sparse(group) or np.shape(group.get("shape")) != (2,) or "features" not in group:
            raise ValueError(
                "expected the groups matrix and matrix/features of Cell Ranger 3 or later, found "
                f"{list(file)[:5]}; of an older one give two h5ad files"
            )
        shape = tuple(group["shape"][()].tolist())
        self.shape = shape[::-1]
        if said := unreal(group["data"].dtype, group.name):
            raise Refusal(said)
        self._plan_sparse(group.name, group, shape, 1)
        for name in TENX_NAMES:
            if name not in group or group[name].shape != (self.shape[name != "barcodes"],):
                raise Refusal(f"expected one name for each cell and feature in /matrix/{name}, found others")
            self._small(group[name], len(group[name]))


def sparse_layout(group: h5py.Group) -> tuple[tuple[int, ...], int]:
    """Shape of a sparse matrix as anndata writes it, and which axis its pointers are of.

    Raises
    ------
    Refusal : the group is something else.
    """
    kind = _text(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = np.asarray(group.attrs.get("shape", group.attrs.get("h5sparse_shape", ())))
    if kind not in FORMATS or not _sparse(group) or shape.dtype.kind not in "iu":
        raise Refusal(f"expected a dense or a sparse (CSR, CSC) matrix as {group.name}, found {kind!r}")
    return tuple(shape.ravel().tolist()), FORMATS[kind]


def _sparse(item: Any) -> bool:
    return isinstance(item, h5py.Group) and all(isinstance(item.get(a), h5py.Dataset) for a in ARRAYS)


def _datasets(item: Any) -> Iterator[h5py.Dataset]:
    if isinstance(item, h5py.Dataset):
        yield item
    elif isinstance(item, h5py.Group):
        for child in item.values():
            yield from _datasets(child)


def size(dataset: h5py.Dataset) -> int:
    """Bytes that reading it takes: all of it, and at least one chunk."""
    values = max(math.prod(dataset.shape or ()), math.prod(dataset.chunks or ()))
    return values * dataset.dtype.itemsize


def one_line(error: Exception) -> str:
    """What an error says, as one printable line: a file chooses the names in it."""
    text = " ".join(str(error).split())[:400] or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def gigabytes(count: int) -> str:
    """Bytes for a message."""
    return f"{count / 2**30:.1f} GB"
