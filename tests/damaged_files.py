"""Ways to damage an HDF5 file of cells, or to make it lead elsewhere: what tests and fuzzing feed the suite.

`MUTATIONS` holds functions of an open h5py file (``r+``) whose X is CSR, and a random generator; `flip_bytes`
and `truncate` work on the raw file.
"""

import gzip
import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

Mutation = Callable[[h5py.File, np.random.Generator], None]


def damage(path: Path, mutation: Mutation, seed: int = 0) -> None:
    """Apply a mutation to a file."""
    with h5py.File(path, "r+") as file:
        mutation(file, np.random.default_rng(seed))


def flip_bytes(path: Path, seed: int, count: int = 1) -> None:
    """Exchange ``count`` bytes of the raw file."""
    rng, content = np.random.default_rng(seed), bytearray(path.read_bytes())
    for at in rng.integers(len(content), size=count):
        content[at] ^= int(rng.integers(1, 256))
    path.write_bytes(content)


def truncate(path: Path, seed: int) -> None:
    """Cut the raw file off, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(np.random.default_rng(seed).integers(len(content)))])


def spoil(path: Path, way: str, rng: np.random.Generator) -> None:
    """The raw file is changed as its way says, such as ``3 bytes``, or something else stands in its place."""
    seed = int(rng.integers(2**31))
    if way.endswith("bytes"):
        flip_bytes(path, seed, int(way.split()[0]))
    elif way == "truncated":
        truncate(path, seed)
    elif way == "zipped":
        path.write_bytes(gzip.compress(path.read_bytes()))
    elif way == "noise":
        path.write_bytes(rng.bytes(1000))
    else:
        path.unlink()
        {"pipe": os.mkfifo, "folder": os.mkdir, "gone": str, "empty": Path.touch}[way](path)


def repeat_a_text(path: Path, cells: int, length: int) -> None:
    """All names of cells are one text of so many bytes, which the file holds once; X is not there."""
    with h5py.File(path, "r+") as file:
        del file["X"]
        names = np.array(["x" * length, *"y" * (cells - 1)], dtype=object)
        write_anew(file["obs/_index"], names, dtype=h5py.string_dtype())
        at = file["obs/_index"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 16 * cells] = content[at : at + 16] * cells  # length, place, number in the heap
    path.write_bytes(content)


def write_anew(item: h5py.Dataset, values: object, **settings: object) -> None:
    """Other values, of another type or length, under the same name and attributes."""
    parent, name, attributes = item.parent, item.name.rsplit("/", 1)[-1], dict(item.attrs)
    del parent[name]
    parent.create_dataset(name, data=values, **settings).attrs.update(attributes)


def one_number(array: str, value: int, file: h5py.File, rng: np.random.Generator) -> None:
    """One of the numbers of ``X/indices`` or ``X/indptr`` becomes another one."""
    numbers = file[f"X/{array}"]
    at = int(rng.integers(1, len(numbers) - 1))
    numbers[at] = value


def place(array: str, at: int, change: int, file: h5py.File, rng: np.random.Generator) -> None:
    """A certain number of it is raised by ``change``."""
    file[f"X/{array}"][at] += change


def length(array: str, change: int, file: h5py.File, rng: np.random.Generator) -> None:
    """It is longer or shorter than it should be."""
    values = file[f"X/{array}"][()]
    write_anew(file[f"X/{array}"], np.resize(values, len(values) + change))


def as_type(array: str, dtype: str, file: h5py.File, rng: np.random.Generator) -> None:
    """It is stored as another type."""
    write_anew(file[f"X/{array}"], file[f"X/{array}"][()].astype(dtype))


def attribute(name: str, value: object, file: h5py.File, rng: np.random.Generator) -> None:
    """An attribute of X says something else; None: it is gone."""
    del file["X"].attrs[name]
    if value is not None:
        file["X"].attrs[name] = value


def twice(file: h5py.File, rng: np.random.Generator) -> None:
    """Two values of the first row that has two stand at one place."""
    pointers = file["X/indptr"][()]
    at = pointers[np.flatnonzero(np.diff(pointers) > 1)[0]]
    file["X/indices"][at + 1] = file["X/indices"][at]


def unsorted(file: h5py.File, rng: np.random.Generator) -> None:
    """Within rows the values stand in another order."""
    pointers = file["X/indptr"][()]
    order = np.concatenate([np.arange(end - 1, start - 1, -1) for start, end in pairwise(pointers)])
    for array in ("indices", "data"):
        file[f"X/{array}"][...] = file[f"X/{array}"][()][order]


def link(target: str, name: str, file: h5py.File, rng: np.random.Generator) -> None:
    """X is that of another file (``target``), or soft: at another place of this one."""
    del file["X"]
    file["X"] = h5py.ExternalLink(target, name) if target else h5py.SoftLink(name)


def virtual(target: str, file: h5py.File, rng: np.random.Generator) -> None:
    """The values of X are those of another file."""
    layout = h5py.VirtualLayout(shape=file["X/data"].shape, dtype="f4")
    layout[:] = h5py.VirtualSource(target, "X/data", shape=file["X/data"].shape)
    del file["X/data"]
    file["X"].create_virtual_dataset("data", layout)


def external(target: str, file: h5py.File, rng: np.random.Generator) -> None:
    """The values of X are the raw bytes of another file."""
    shape = file["X/data"].shape
    del file["X/data"]
    file["X"].create_dataset("data", shape, "f4", external=[(target, 0, h5py.h5f.UNLIMITED)])


def leading(target: str) -> dict[str, Mutation]:
    """Ways in which X leads to another file."""
    linked = {"external link": partial(link, target, "/X"), "virtual": partial(virtual, target)}
    return linked | {"external": partial(external, target)}


def giant(array: str, shape: tuple[int, ...], file: h5py.File, rng: np.random.Generator) -> None:
    """A dataset declares a large shape and holds nothing."""
    if array in file:
        del file[array]
    chunks = tuple(min(k, 1000) for k in shape)
    file.create_dataset(array, shape, "f4", chunks=chunks, compression="gzip")


def giant_chunk(file: h5py.File, rng: np.random.Generator) -> None:
    """A small dataset lies in a chunk of 3 GB."""
    values = file["X/data"][()]
    del file["X/data"]
    file["X"].create_dataset(
        "data", values.shape, "f4", chunks=(3 * 2**28,), maxshape=(None,), compression="gzip"
    )


def text_bomb(file: h5py.File, rng: np.random.Generator) -> None:
    """A column of names of 1 MB each."""
    n = len(file["obs/_index"])
    write_anew(file["obs/_index"], np.array(["x" * 2**20] * n, dtype=object), dtype=h5py.string_dtype())


def ring(file: h5py.File, rng: np.random.Generator) -> None:
    """A group that holds itself."""
    file["obs/again"] = file["obs"]


def deep(file: h5py.File, rng: np.random.Generator) -> None:
    """Groups in groups."""
    file.create_group("/".join(["uns", *"a" * 200]))


def long_column(file: h5py.File, rng: np.random.Generator) -> None:
    """A column of obs with more values than cells."""
    file["obs"].create_dataset("more", data=np.zeros(len(file["obs/_index"]) + 1))


def records(file: h5py.File, rng: np.random.Generator) -> None:
    """A column of obs with a record for each cell, where a number or a text belongs."""
    file["obs"].create_dataset("more", data=np.zeros(len(file["obs/_index"]), [("a", "i4"), ("b", "f4")]))


MUTATIONS: dict[str, Mutation] = {
    "index too high": partial(one_number, "indices", 10**6),
    "index negative": partial(one_number, "indices", -1),
    "index of 31 bits": partial(one_number, "indices", 2**31 - 1),
    "pointer too high": partial(one_number, "indptr", 10**6),
    "pointer negative": partial(one_number, "indptr", -(10**6)),
    "pointer falls": partial(one_number, "indptr", 0),
    "pointers start late": partial(place, "indptr", 0, 1),
    "pointers end early": partial(place, "indptr", -1, -1),
    "pointers end late": partial(place, "indptr", -1, 1),
    "two values at one place": twice,
    "a pointer more": partial(length, "indptr", 1),
    "a pointer less": partial(length, "indptr", -1),
    "an index less": partial(length, "indices", -1),
    "an index more": partial(length, "indices", 1),
    "a value less": partial(length, "data", -1),
    "a value more": partial(length, "data", 1),
    "indices with fractions": partial(as_type, "indices", "f8"),
    "pointers with fractions": partial(as_type, "indptr", "f8"),
    "complex values": partial(as_type, "data", "c8"),
    "text for values": partial(as_type, "data", "S8"),
    "shape too large": partial(attribute, "shape", (60_000, 60_000)),
    "shape negative": partial(attribute, "shape", (-1, 5)),
    "shape of one number": partial(attribute, "shape", 5),
    "shape with fractions": partial(attribute, "shape", (1.5, 2.5)),
    "no shape": partial(attribute, "shape", None),
    "other format": partial(attribute, "encoding-type", "csc_matrix"),
    "no matrix": partial(attribute, "encoding-type", "dict"),
    "a table for a matrix": partial(attribute, "encoding-type", "dataframe"),
    "soft link": partial(link, "", "/layers"),
    "giant X": partial(giant, "X", (60_000, 60_000)),
    "giant values": partial(giant, "X/data", (2 * 10**9,)),
    "giant column": partial(giant, "obs/more", (2 * 10**9,)),
    "giant chunk": giant_chunk,
    "long names": text_bomb,
    "a group in itself": ring,
    "deep groups": deep,
    "a column too long": long_column,
    "a column of records": records,
}
OF_TABLES = ("giant column", "a column too long", "a column of records")  # which are not read of a prediction
SAME: dict[str, Mutation] = {  # other ways to write the same numbers
    "int64 indices": partial(as_type, "indices", "i8"),
    "unsigned pointers": partial(as_type, "indptr", "u8"),
    "indices of another order": unsorted,
    "big-endian": partial(as_type, "data", ">f4"),
    "big-endian indices": partial(as_type, "indices", ">i4"),
    "double": partial(as_type, "data", "f8"),
    "long double": partial(as_type, "data", "g"),
    "unknown version": partial(attribute, "encoding-version", "9.9.9"),
    "giant group that nobody reads": partial(giant, "obsp/distances", (60_000, 60_000)),
}
