"""Cases of `scmobench data check own`: the same cells in every layout, changed in a known way, or damaged."""

import functools
import gzip
import io
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.io import mmread

from cellranger_files import folder_texts, write_folder, write_h5
from damaged_files import MUTATIONS, SAME, leading, spoil
from fuzz import Attempt
from fuzz_scores import Change, at, cut, held_as, labelled, more
from scmobench.data import declared
from scmobench.data.feature_types import modality_of
from scmobench.data.own import Own

N, GENES, PROTEINS = 24, 10, 4
Cells = list[AnnData]  # GEX with the labels, ADT


@functools.cache
def plain() -> tuple[AnnData, AnnData]:
    """Both modalities, no cell or feature without counts."""
    rng = np.random.default_rng(2)
    names = [f"AAAC{i}-1" for i in range(N)]
    obs = pd.DataFrame({"batch": np.arange(N) // 8, "cell_type": np.arange(N) % 3}, index=names)
    obs = obs.astype({"batch": str}).assign(
        cell_type=obs["cell_type"].map(["B", "T", "NK"].__getitem__), S_score=rng.integers(-8, 9, N) / 8
    )
    found = []
    for kind, width, table in (("GEX", GENES, obs), ("ADT", PROTEINS, obs[[]])):
        counts = np.maximum(rng.poisson(2, (N, width)), np.arange(width) % 2).astype(np.float32)
        var = pd.DataFrame({"feature_types": kind}, index=[f"{kind}{i}" for i in range(width)])
        found.append(AnnData(sp.csr_matrix(counts), table.copy(), var))
    return tuple(found)


def copies(cells: Sequence[AnnData]) -> Cells:
    """For whoever changes them; anndata does as it writes them."""
    return [modality.copy() for modality in cells]


def pair(cells: Cells, folder: Path) -> dict[str, Path]:
    for name, modality in zip(("gex", "mod2"), cells, strict=True):
        modality.write_h5ad(folder / f"{name}.h5ad")
    return {name: folder / f"{name}.h5ad" for name in ("gex", "mod2")}


def single(cells: Cells, folder: Path) -> dict[str, Path]:
    dense = [m.X.toarray() if sp.issparse(m.X) else m.X for m in cells]
    var = pd.concat([m.var[["feature_types"]] for m in cells])
    X = np.hstack(dense)
    both = AnnData(X if X.dtype == np.float16 else sp.csr_matrix(X), cells[0].obs, var)
    both.write_h5ad(folder / "both.h5ad")
    return {"h5ad": folder / "both.h5ad"}


def h5mu(cells: Cells, folder: Path) -> dict[str, Path]:
    mudata.MuData(dict(zip(("rna", "prot"), cells, strict=True))).write(folder / "both.h5mu")
    return {"h5mu": folder / "both.h5mu"}


def labels_of(cells: Cells, folder: Path) -> dict[str, Path]:
    cells[0].obs.to_csv(folder / "labels.csv")
    return {"labels": folder / "labels.csv"}


def tenx(cells: Cells, folder: Path) -> dict[str, Path]:
    write_h5(folder / "cells.h5", cells)
    return {"tenx": folder / "cells.h5"} | labels_of(cells, folder)


def tenx_folder(cells: Cells, folder: Path) -> dict[str, Path]:
    write_folder(folder, folder_texts(cells))
    return {"tenx": folder} | labels_of(cells, folder)


LAYOUTS = {"pair": pair, "single": single, "h5mu": h5mu, "tenx": tenx, "folder": tenx_folder}


def digest(cells: Sequence[AnnData]) -> str:
    """What the cells are, read from two plain h5ad files."""
    with tempfile.TemporaryDirectory() as folder:
        given = {key: str(path) for key, path in pair(copies(cells), Path(folder)).items()}
        return Own(name="own", **given, batch="batch").load().hash


def checked(given: dict[str, Path], right: list[Any], **more: Any) -> Attempt:
    paths = [f"dataset.{key}={path}" for key, path in given.items()]
    command = ["data", "check", "own", *paths, "dataset.batch=batch"]
    return Attempt(command, right, read=lambda printed: printed.splitlines()[0].split()[-1], **more)


column = partial(labelled, 0)  # of GEX, which has the labels


def names(axis: str, change: Callable[[list[str]], list[str]], *which: int) -> Change:
    def changed(cells: Cells, rng: np.random.Generator) -> None:
        for k in which:
            setattr(cells[k], f"{axis}_names", change(list(getattr(cells[k], f"{axis}_names"))))

    return changed


REWRITTEN: dict[str, Change] = {
    "as it is": lambda cells, rng: None,
    "dense": held_as(lambda X: X.toarray()),
    "csc": held_as(lambda X: X.tocsc()),
    **{f"type {t}": held_as(lambda X, t=t: X.toarray().astype(t)) for t in ("f2", "f8", ">f4", "u1", "i8")},
    **{f"sparse {t}": held_as(lambda X, t=t: X.astype(t)) for t in ("i4", "u2", "f8")},
    "more in the files": more,
    "batches as numbers": column("batch", lambda v: v.astype(int)),
    "batches as fractions": column("batch", lambda v: v.astype(float)),
    "batches as categories": column("batch", lambda v: pd.Categorical(v, ["2", "unused", "0", "1"])),
    "types as categories": column("cell_type", lambda v: pd.Categorical(v, ["B", "T", "NK", "none left"])),
    "types as text": column("cell_type", lambda v: v.astype("string")),
    "scores as text": column("S_score", lambda v: v.map(repr)),
    "scores as categories": column("S_score", lambda v: v.astype("category")),
}
KNOWN: dict[str, Change] = {
    "a count more": at(17),
    "large counts": at(2**20),
    "a cell renamed": names("obs", lambda n: ["TTTT-1", *n[1:]], 0, 1),
    "a gene renamed": names("var", lambda n: ["é🧬", *n[1:]], 0),
    "another batch": column("batch", lambda v: v.where(v.index != "AAAC3-1", "1")),
    "another type": column("cell_type", lambda v: v.where(v.index != "AAAC3-1", "nK")),
    "another score": column("S_score", lambda v: v + 0.25),
    "a score missing": column("S_score", lambda v: v.where(v.index != "AAAC3-1")),
    "another order": cut(lambda x: x[::-1], 0, 1),
    "a gene less": cut(lambda x: x[:, 1:], 0),
}
REFUSED: dict[str, Change] = {
    "negative": at(-1),
    "fraction": at(0.5),
    "NaN": at(np.nan),
    "infinite": at(np.inf),
    "a gene without counts": held_as(lambda X: X.toarray() * (np.arange(X.shape[1]) > 0)),
    "a cell without counts": held_as(lambda X: X.toarray() * (np.arange(N) > 0)[:, None]),
    "a cell twice": names("obs", lambda n: [n[1], *n[1:]], 0, 1),
    "few cells": cut(lambda x: x[:15], 0, 1),
    "one protein": cut(lambda x: x[:, :1], 1),
    "a cell without batch": column("batch", lambda v: v.where(v.index != "AAAC3-1", "NA")),
    "a cell without type": column("cell_type", lambda v: v.where(v.index != "AAAC3-1", " ")),
    "no batches": lambda cells, rng: cells[0].obs.drop(columns="batch", inplace=True),
    "scores in words": column("S_score", lambda v: v.map(repr).where(v.index != "AAAC3-1", "high")),
}
OF_PAIR: dict[str, Change] = {
    "imaginary": at(1j, "c8"),
    "proteins in another order": cut(lambda x: x[::-1], 1),
    "a cell only in one": cut(lambda x: x[1:], 1),
    "transposed": cut(lambda x: x.T, 1),
    "a gene twice": names("var", lambda n: [n[1], *n[1:]], 0),
    "exchanged": lambda cells, rng: cells.__setitem__(slice(None), cells[::-1]),
    "other types": lambda cells, rng: cells[1].var.__setitem__("feature_types", "Custom"),
}


def rewritten(layout: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """The same cells: the hash is the same."""
    cells = copies(plain())
    REWRITTEN[name](cells, rng)
    return checked(LAYOUTS[layout](cells, folder), [digest(plain())])


def known(layout: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """Other cells: the hash is another one, and that of the same cells as h5ad files."""
    cells = copies(plain())
    KNOWN[name](cells, rng)
    right = digest(cells)
    return checked(LAYOUTS[layout](cells, folder), [right] if right != digest(plain()) else [])


def refused(layout: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    cells = copies(plain())
    (REFUSED | OF_PAIR)[name](cells, rng)
    return checked(LAYOUTS[layout](cells, folder), [], line=True)


LEADING = leading("far.h5ad")
PLACE = {"pair": "/", "single": "/", "h5mu": "mod/rna", "tenx": "matrix"}
OF_ATTRIBUTES = "shape|format|for a matrix|no matrix|column|names|giant X|link|version|group|long"


def damaged(layout: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """One matrix of one file changed by h5py."""
    given = LAYOUTS[layout](copies(plain()), folder)
    plain()[0].copy().write_h5ad(folder / "far.h5ad")
    with h5py.File(given[rng.choice([k for k in given if k != "labels"])], "r+") as file:
        if layout == "tenx":
            file["X"] = file["matrix"]
        (MUTATIONS | SAME | LEADING)[name](file["/" if layout == "tenx" else PLACE[layout]], rng)
        if layout == "tenx":
            del file["X"]
    return checked(given, [digest(plain())] if name in SAME else [], line=name not in SAME)


def reading(given: dict[str, Path]) -> list[str]:
    """The hash of what other readers read."""
    try:
        if "gex" in given:
            return [digest([ad.read_h5ad(given[name]) for name in ("gex", "mod2")])]
        if "h5mu" in given:
            both = mudata.read_h5mu(given["h5mu"])
            return [digest([both["rna"], both["prot"]])]
        cells = ad.read_h5ad(given["h5ad"]) if "h5ad" in given else tenx_read(given["tenx"])
        if "labels" in given:
            cells.obs = pd.read_csv(given["labels"], index_col=0).loc[cells.obs_names]
        kinds = cells.var["feature_types"].map(modality_of).to_numpy()  # of others nothing is taken
        both = [cells[:, kinds == kind].copy() for kind in ("GEX", "ADT")]
        for modality, kind in zip(both, ("GEX", "ADT"), strict=True):
            modality.var["feature_types"] = kind
        return [digest(both)]
    except Exception:  # then nothing but a line is right
        return []


def tenx_read(path: Path) -> AnnData:
    if path.is_dir():
        X = mmread(path / "matrix.mtx.gz").T.tocsr()
        cells = pd.read_csv(path / "barcodes.tsv.gz", header=None)[0].tolist()
        _, names, types = pd.read_csv(path / "features.tsv.gz", sep="\t", header=None).to_numpy().T
    else:
        with h5py.File(path) as file:
            arrays = [file[f"matrix/{name}"][()] for name in ("data", "indices", "indptr")]
            tables = [file[f"matrix/{name}"].asstr()[()] for name in declared.TENX_NAMES]
        X, (cells, names, types) = sp.csr_matrix(tuple(arrays), (N, GENES + PROTEINS)), tables
    return AnnData(X, pd.DataFrame(index=cells), pd.DataFrame({"feature_types": types}, index=names))


def raw(layout: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """One file changed as bytes: a line, or the hash of what other readers read."""
    given = LAYOUTS[layout](copies(plain()), folder)
    files = sorted(folder.iterdir())
    spoil(files[int(rng.integers(len(files)))], name, rng)
    if name.endswith("bytes") or name == "truncated":
        return checked(given, [digest(plain())], line=True, otherwise=partial(reading, given))
    return checked(given, [], line=True)


def table(change: Callable[[str], str], right: bool, folder: Path, rng: np.random.Generator) -> Attempt:
    """The labels, written otherwise."""
    given = tenx(copies(plain()), folder)
    text = change(given["labels"].read_text())
    given["labels"].write_bytes(text if isinstance(text, bytes) else text.encode())
    return checked(given, [digest(plain())] if right else [], line=not right)


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "\n".join(change(text.splitlines())) + "\n"


def frame(change: Callable[[pd.DataFrame], pd.DataFrame], **form: Any) -> Callable[[str], str]:
    return lambda text: change(pd.read_csv(io.StringIO(text), index_col=0)).to_csv(**form)


LABELS = {
    "CRLF": (lambda t: t.replace("\n", "\r\n"), True),
    "BOM": (lambda t: "\ufeff" + t, True),
    "quoted": (frame(lambda f: f, quoting=1), True),
    "blank lines": (lambda t: t + "\n\n", True),
    "another order": (frame(lambda f: f[::-1]), True),
    "more cells": (frame(lambda f: pd.concat([f, f.set_axis([f"x{i}" for i in range(N)])])), True),
    "more columns": (frame(lambda f: f.assign(donor="é", note="a,b\nc")), True),
    "columns in another order": (frame(lambda f: f.iloc[:, ::-1]), True),
    "a cell less": (lines(lambda rows: rows[:-1]), False),
    "a cell twice": (lines(lambda rows: [*rows, rows[-1]]), False),
    "no rows": (lines(lambda rows: rows[:1]), False),
    "no header": (lines(lambda rows: rows[1:]), False),
    "semicolons": (lambda t: t.replace(",", ";"), False),
    "a line too long": (lambda t: t + "x,1,2,3,4,5,6\n", False),
    "an open quote": (lines(lambda rows: [*rows[:4], '"' + rows[4], *rows[5:]]), False),
    "UTF-16": (lambda t: t.encode("utf-16"), False),
    "a zero byte": (lambda t: t.replace("AAAC5", "AA\0C5"), False),
    "batch twice": (lambda t: t.replace("cell_type", "batch", 1), False),
    "Latin-1": (lambda t: t.replace("NK", "é").encode("latin-1"), False),
}


def matrix(change: Callable[[str], str], right: bool, folder: Path, rng: np.random.Generator) -> Attempt:
    """Cell Ranger's matrix in text, written otherwise."""
    given = tenx_folder(copies(plain()), folder)
    text = change(gzip.decompress((folder / "matrix.mtx.gz").read_bytes()).decode())
    (folder / "matrix.mtx.gz").write_bytes(gzip.compress(text.encode()))
    return checked(given, [digest(plain())] if right else [], line=not right)


def entry(line: str) -> Callable[[str], str]:
    """The last entry says something else."""
    return lines(lambda rows: [*rows[:-1], line.format(*rows[-1].split())])


MATRIX = {
    "real": (lambda t: t.replace("integer", "real", 1), True),
    "as real": (lambda t: entry("{} {} {}.0")(t.replace("integer", "real", 1)), True),
    "another order": (lines(lambda rows: rows[:3] + rows[:2:-1]), True),
    "CRLF": (lambda t: t.replace("\n", "\r\n"), True),
    "more comments": (lines(lambda rows: [*rows[:2], "% é", "%", *rows[2:]]), True),
    "blanks": (entry("  {}   {}\t{} "), True),
    "index 0": (entry("0 {1} {2}"), False),
    "index too high": (entry("99 {1} {2}"), False),
    "negative": (entry("{} {} -1"), False),
    "NaN": (lambda t: entry("{} {} nan")(t.replace("integer", "real", 1)), False),
    "text": (entry("{} {} x"), False),
    "an entry less": (lines(lambda rows: rows[:-1]), False),
    "an entry more": (lines(lambda rows: [*rows, rows[-1]]), False),
    "an entry twice": (lines(lambda rows: [*rows[:-1], rows[-2]]), False),
    "complex": (lambda t: t.replace("integer", "complex", 1), False),
    "symmetric": (lambda t: t.replace("general", "symmetric", 1), False),
    "dense": (lambda t: t.replace("coordinate", "array", 1), False),
    "giant": (lines(lambda rows: [*rows[:2], "999999 999999 999999999999", *rows[3:]]), False),
    "beyond int64": (entry("{} {} 99999999999999999999999"), False),
    "other head": (lambda t: t[2:], False),
}

NOT_OF_ALL = {layout: set(OF_PAIR) for layout in LAYOUTS} | {"pair": set()}
NOT_OF_ALL["h5mu"] = {"a gene twice", "other types", "exchanged", "transposed"}
HURT = (*MUTATIONS, *SAME, *LEADING)
own: dict[str, Any] = {}
for layout in LAYOUTS:
    kinds: dict[Any, Any] = {rewritten: REWRITTEN, known: KNOWN}
    kinds[refused] = (*REFUSED, *(name for name in OF_PAIR if name not in NOT_OF_ALL[layout]))
    kinds[raw] = ("pipe", "folder", "gone", "empty", "truncated", *(f"{k} bytes" for k in (1, 2, 10)))
    if layout != "folder":
        kinds[damaged] = [n for n in HURT if layout != "tenx" or not re.search(OF_ATTRIBUTES, n)]
    for maker, found in kinds.items():
        own |= {f"{maker.__name__}, {layout}, {name}": partial(maker, layout, name) for name in found}
own |= {f"labels, {name}": partial(table, *LABELS[name]) for name in LABELS}
own |= {f"matrix, {name}": partial(matrix, *MATRIX[name]) for name in MATRIX}
TABLES = {"own data": (0.3, own)}
