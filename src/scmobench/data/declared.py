"""Plan what to read of an HDF5 file, by the shapes, types and sizes that it declares. No value is read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from scmobench.data.feature_types import needed
from scmobench.data.matrix import unreal

TABLE_VALUES = 10**6  # values that any column may have; a table with more rows may have longer columns
TEXT = 2**10  # bytes of a name or label
UNS = ("dataset_id", "protocol", "subtask", "organism", "source", "pairing_ix", "protein_names")
FORMATS = {"csr_matrix": 0, "csr": 0, "csc_matrix": 1, "csc": 1}  # format: the axis of its pointers
KINDS = {  # groups that tell a file's kind, and its name
    "h5ad": ({"obs", "var", "X"}, "an AnnData file"),
    "h5mu": ({"obs", "var", "mod"}, "a MuData file"),
    "tenx": ({"matrix"}, "Cell Ranger's file"),
}
ARRAYS = ("data", "indices", "indptr")
TENX_NAMES = ("barcodes", "features/name", "features/feature_type")


class Refusal(ValueError):  # noqa: N818  (a decision, not a failure)
    """The file is readable but must not be read; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What to read of one file."""

    path: str
    kind: str = "h5ad"  # h5ad, h5mu or tenx (Cell Ranger's feature-barcode h5)
    matrices: tuple[str, ...] = ("X", "layers/counts")  # their paths; those that the file lacks are left out
    layer: str | None = None  # that the file must have
    modality: str | None = None  # of an h5mu file, the one beside gene expression
    tables: bool = True  # read obs and var as a whole, not only the names of their rows


class Sparse(NamedTuple):
    """A sparse matrix in a file; ``axis`` is 0 for CSR, 1 for CSC."""

    group: h5py.Group
    shape: tuple[int, ...]
    axis: int


class ReadPlan:
    """The datasets and sparse matrices to read of a file, and the ``bytes`` that they declare.

    ``shape`` is the declared cells x features of the last modality.
    """

    def __init__(self, file: h5py.File, wanted: Wanted) -> None:
        self.wanted, self.shape = wanted, (0, 0)
        self.datasets: list[h5py.Dataset] = []
        self.sparse: list[Sparse] = []
        for kind, (parts, what) in KINDS.items():
            if parts <= file.keys() and kind != wanted.kind:
                raise ValueError(f"it is {what}: cells of your own are given as dataset.{kind}=FILE")
        {"h5ad": self._anndata, "h5mu": self._mudata, "tenx": self._tenx}[wanted.kind](file)
        self.bytes = sum(map(size, self.datasets))

    def _mudata(self, file: h5py.File) -> None:
        if "mod" not in file or "obs" not in file:
            raise ValueError(f"expected groups `mod` and `obs`, found {list(file)[:5]}")
        for name in needed(file["mod"], self.wanted.modality):
            self._anndata(file["mod"][name])
        self._table(file["obs"])

    def _anndata(self, group: h5py.Group) -> None:
        if "obs" not in group or "var" not in group:
            raise ValueError(f"expected groups X, obs and var, found {list(group)[:5]}")
        self.shape = (self._table(group["obs"]), self._table(group["var"]))
        if (layer := self.wanted.layer) and f"layers/{layer}" not in group:
            raise Refusal(
                f"no layer {layer!r} in {group.name}, it has {list(group.get('layers', ()))}; both modalities"
                f" need it: where X holds it already, write the file again with layers[{layer!r}] = X"
            )
        for name in self.wanted.matrices:
            if name in group:
                self._matrix(group[name], name.split("/")[0])
        for name in UNS if "uns" in group else ():
            if name in group["uns"]:
                self._small(group["uns"][name], max(self.shape))

    def _table(self, table: Any) -> int:
        """Add a table, or only the names of its rows; returns the number of rows."""
        if isinstance(table, h5py.Dataset):
            raise Refusal(
                f"{table.name} is in the form of anndata before 0.7 (2020): write it again, "
                "anndata.read_h5ad(old).write_h5ad(new)"
            )
        index = table.get(index_name(table))
        names = index.get("values") if isinstance(index, h5py.Group) else index
        if not isinstance(names, h5py.Dataset) or names.shape is None or names.ndim != 1:
            raise Refusal(f"expected names of rows as {table.name}/_index, found none: write them there")
        self._small(table if self.wanted.tables else index, len(names))
        for name, column in table.items() if self.wanted.tables else ():
            if isinstance(column, h5py.Dataset) and column.shape != names.shape:
                raise Refusal(f"expected {len(names)} values in {table.name}/{name}, found {column.shape}")
            if isinstance(column, h5py.Dataset) and column.dtype.kind == "V":
                told = f"expected one number or text a row in {table.name}/{name}, found records"
                raise Refusal(f"{told}: drop the column")  # pandas cannot select rows of it
        return len(names)

    def _small(self, item: Any, rows: int) -> None:
        """Add everything below ``item``; none of it may be larger than a table of so many rows."""
        for dataset in _datasets(item):
            if size(dataset) > TEXT * max(rows, TABLE_VALUES):
                raise Refusal(f"{dataset.name} declares {gigabytes(size(dataset))}, too much for {rows} rows")
            self.datasets.append(dataset)

    def _matrix(self, item: Any, room: str) -> None:
        """Add a dense or sparse matrix; obsm and varm fix its length alone."""
        if isinstance(item, h5py.Dataset) and item.shape is None:  # anndata writes "no matrix" in this way
            return
        if room == "obsm" and "column-order" in item.attrs and self.wanted.tables:  # a table of numbers
            self._table(item)
            return
        expected = {"obsm": self.shape[:1], "varm": self.shape[1:]}.get(room, self.shape)
        shape = item.shape if isinstance(item, h5py.Dataset) else self._compressed(*sparse_layout(item))
        if len(shape) != 2 or shape[: len(expected)] != expected:
            raise Refusal(
                f"{item.name} declares the shape {shape}, obs and var have {self.shape[0]} cells and "
                f"{self.shape[1]} features"
            )
        if isinstance(item, h5py.Dataset):
            if reason := unreal(item.dtype, item.name):
                raise Refusal(reason)
            self.datasets.append(item)

    def _compressed(self, group: h5py.Group, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        if len(shape) == 2 and group["data"].size > max(shape[0], 0) * max(shape[1], 0):
            raise Refusal(f"{group.name} declares {group['data'].size} values in a matrix of shape {shape}")
        if reason := unreal(group["data"].dtype, group.name):
            raise Refusal(reason)
        self.sparse.append(Sparse(group, shape, axis))
        self.datasets += [group[name] for name in ARRAYS]
        return shape

    def _tenx(self, file: h5py.File) -> None:
        group = file.get("matrix")
        if not _is_sparse(group) or np.shape(group.get("shape")) != (2,) or "features" not in group:
            raise ValueError(
                "expected the groups matrix and matrix/features of Cell Ranger 3 or later, found "
                f"{list(file)[:5]}; for an older version give two h5ad files"
            )
        features, cells = self._compressed(group, tuple(group["shape"][()].tolist()), 1)
        self.shape = (cells, features)
        for name in TENX_NAMES:
            if name not in group or group[name].shape != (cells if name == "barcodes" else features,):
                raise Refusal(f"expected one name for each cell and feature in /matrix/{name}, found others")
            self._small(group[name], len(group[name]))


def sparse_layout(group: h5py.Group) -> Sparse:
    """The sparse matrix that anndata wrote as this group."""
    kind = text(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = np.asarray(group.attrs.get("shape", group.attrs.get("h5sparse_shape", ())))
    if kind not in FORMATS or not _is_sparse(group) or shape.dtype.kind not in "iu":
        raise Refusal(
            f"expected a dense or a sparse (CSR, CSC) matrix as {group.name}, found {kind!r}: "
            "convert it, e.g. np.asarray(…), and write the file again"
        )
    return Sparse(group, tuple(shape.ravel().tolist()), FORMATS[kind])


def _is_sparse(item: Any) -> bool:
    return isinstance(item, h5py.Group) and all(isinstance(item.get(a), h5py.Dataset) for a in ARRAYS)


def _datasets(item: Any) -> Iterator[h5py.Dataset]:
    if isinstance(item, h5py.Dataset):
        yield item
    elif isinstance(item, h5py.Group):
        for child in item.values():
            yield from _datasets(child)


def size(dataset: h5py.Dataset) -> int:
    """Bytes of memory that reading it takes: all of it, and at least one chunk."""
    values = max(math.prod(dataset.shape or ()), math.prod(dataset.chunks or ()))
    return values * dataset.dtype.itemsize


def one_line(error: Exception) -> str:
    """The error's message as one printable line; names in it may come from a hostile file."""
    text = " ".join(str(error).split())[:400] or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def index_name(table: h5py.Group) -> str:
    """The column with the names of rows, which only anndata states."""
    return text(table.attrs.get("_index", "_index" if "_index" in table else "index"))


def text(value: Any) -> str:
    """An attribute, which R writes as a list of one text."""
    value = np.ravel(value)[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def gigabytes(count: int) -> str:
    """Bytes as text for a message."""
    return f"{count / 2**30:.1f} GB"
