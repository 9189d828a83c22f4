"""Cases of `scmobench score`: predictions and solutions, rewritten, changed in a known way, or damaged."""

import functools
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from damaged_files import MUTATIONS, OF_TABLES, SAME, damage, leading, spoil
from fuzz import Attempt, same
from scmobench.experiment.evaluate import evaluate
from scmobench.types import TASKS

N = 30
ROWS, COLUMNS = [f"cell{i}" for i in range(N)], [f"other{i}" for i in range(N)]
PREDICTION, SOLUTION = 0, 1
Change = Callable[[list[AnnData], np.random.Generator], Any]


@functools.cache
def plain(task: str) -> tuple[AnnData, AnnData]:
    """A prediction and its solution whose values every type of number holds; two at least in each row."""
    rng = np.random.default_rng(1)
    obs = pd.DataFrame({"batch": np.where(np.arange(N) % 2, "b1", "b2")}, index=ROWS)
    obs["cell_type"] = np.array(["B", "T", "NK"])[rng.integers(3, size=N)]
    if task == "match_modality":
        pairing = rng.permutation(N)
        truth = sp.csr_matrix((np.ones(N, np.float32), (pairing, np.arange(N))), (N, N))
        weights = truth * 0.25 + sum(truth[rng.permutation(N)] for _ in range(3)) * 0.25
        solution = AnnData(truth, obs, pd.DataFrame(index=COLUMNS), uns={"pairing_ix": pairing})
        return AnnData(weights.tocsr(), obs[[]], pd.DataFrame(index=COLUMNS)), solution
    genes = pd.DataFrame(index=[f"g{i}" for i in range(12)])
    counts = rng.integers(0, 9, (N, 12)).astype(np.float32)
    if task == "predict_modality":
        answer = np.maximum(counts + rng.integers(-2, 3, (N, 12)), 0).astype(np.float32)
        return AnnData(sp.csr_matrix(answer), obs[[]], genes), AnnData(sp.csr_matrix(counts), obs, genes)
    for column in ("S_score", "G2M_score", "pseudotime_order_GEX"):
        obs[column] = rng.integers(-8, 9, N) / 8
    obs["is_scored"] = np.arange(N) != 7
    centre = obs["cell_type"].map({"B": 0, "T": 2, "NK": -3}).to_numpy()[:, None]
    answer = (rng.integers(-16, 17, (N, 4)) / 8 + centre).astype(np.float32)
    dimensions = pd.DataFrame(index=[f"dim{i}" for i in range(4)])
    return AnnData(sp.csr_matrix(answer), obs[[]], dimensions), AnnData(sp.csr_matrix(counts), obs, genes)


@functools.cache
def scores(task: str) -> dict[str, float | None]:
    """Of the plain files; those that can be said by NumPy alone are said so."""
    return library(task, *plain(task)) | independent(task, *plain(task))


def library(task: str, prediction: AnnData, solution: AnnData) -> dict[str, float | None]:
    return {name: score.value for name, score in evaluate(task, prediction, solution).items()}


def independent(task: str, prediction: AnnData, solution: AnnData) -> dict[str, float]:
    """Metrics by their definitions, in dense matrices."""
    P, T = (np.asarray(x.toarray() if sp.issparse(x) else x, float) for x in (prediction.X, solution.X))
    if task == "predict_modality":
        known = {"rmse": np.sqrt(((P - T) ** 2).mean()), "mae": np.abs(P - T).mean()}
        for name, form in (("pearson", np.asarray), ("spearman", partial(rankdata, axis=1))):
            if min(np.ptp(x, axis=1).min() for x in (P, T)) > 0:
                rows = [np.corrcoef(p, t)[0, 1] for p, t in zip(form(P), form(T), strict=True)]
                known[f"mean_{name}_per_cell"] = np.mean(rows)
        return known | (
            {"overall_pearson": np.corrcoef(P.ravel(), T.ravel())[0, 1]}
            if min(np.ptp(P), np.ptp(T)) > 0
            else {}
        )
    if task == "match_modality":
        partner = np.argsort(np.asarray(solution.uns["pairing_ix"]).astype(int))
        share = P / np.maximum(P.sum(1, keepdims=True), 1e-300)
        true = np.eye(N)[partner]
        return {
            "match_probability": share[np.arange(N), partner].mean(),
            "pairing_auroc": roc_auc_score(true.ravel(), P.ravel()),
        }
    return {}


def spread(change: Change) -> Change:
    """The change of one matrix, applied to one of both files as the seed says."""

    def either(files: list[AnnData], rng: np.random.Generator) -> None:
        at = int(rng.integers(2))
        files[at] = change(files[at], rng)

    return either


def held_as(form: Callable[[Any], Any]) -> Change:
    def change(cells: AnnData, rng: np.random.Generator) -> AnnData:
        return AnnData(form(cells.X), cells.obs, cells.var, uns=cells.uns)

    return spread(change)


def renamed(file: int | None, axis: str, first: int) -> Change:
    """Rows or columns counted from 0 or 1 in one file or in both."""

    def change(files: list[AnnData], rng: np.random.Generator) -> None:
        for cells in files if file is None else [files[file]]:
            names = [str(first + k) for k in range(len(getattr(cells, f"{axis}_names")))]
            setattr(cells, f"{axis}_names", names)

    return change


def more(files: list[AnnData], rng: np.random.Generator) -> None:
    """All else that a file of cells may hold."""
    for cells in files:
        cells.obs["donor"] = pd.Categorical(rng.choice(["NA", "d2", "é🧬"], cells.n_obs))
        cells.obs["depth"] = rng.random(cells.n_obs)
        cells.var["id"] = [f"ID{k}" for k in range(cells.n_vars)]
        cells.var["mean"] = rng.random(cells.n_vars)
        cells.uns |= {"colours": ["red"], "nested": {"a": {"b": np.arange(3)}}, "method_id": "mine"}
        cells.uns["log1p"] = {"base": 2.0}
        cells.layers["raw"] = cells.X.copy()
        cells.obsm["X_pca"] = rng.random((cells.n_obs, 2))
        cells.obsp["distances"] = sp.eye(cells.n_obs, format="csr")
        cells.varm["loadings"] = rng.random((cells.n_vars, 2))


def labelled(file: int, column: str, form: Callable[[pd.Series], Any]) -> Change:
    """A column of one file, where it has this."""

    def change(files: list[AnnData], rng: np.random.Generator) -> None:
        if column in files[file].obs:
            files[file].obs[column] = form(files[file].obs[column])

    return change


def paired_as(form: Callable[[np.ndarray], Any]) -> Change:
    def change(files: list[AnnData], rng: np.random.Generator) -> None:
        if "pairing_ix" in files[SOLUTION].uns:
            files[SOLUTION].uns["pairing_ix"] = form(files[SOLUTION].uns["pairing_ix"])

    return change


truth = partial(labelled, SOLUTION)
RENAMED = "types as|types of|batches as"  # changes whose names sort in another order
NAMES = {"B": "1e5", "T": " CD4 🧬 ", "NK": "unknown"}
NUMBERS: dict[str, Callable[[pd.Series], Any]] = {
    "text": lambda v: v.map(repr),
    "categories": lambda v: v.astype("category"),
    "text categories": lambda v: v.map(repr).astype("category"),
    "float16": lambda v: v.astype(np.float16),
    "big-endian": lambda v: v.to_numpy().astype(">f8"),
}
FORMS: dict[str, Change] = {
    "dense": held_as(lambda X: X.toarray()),
    "dense by columns": held_as(lambda X: np.asfortranarray(X.toarray())),
    "csc": held_as(lambda X: X.tocsc()),
    **{f"type {t}": held_as(lambda X, t=t: X.toarray().astype(t)) for t in ("f2", "f8", ">f4", ">f8")},
    "sparse f8": held_as(lambda X: X.astype("f8")),
}
WHOLE = {f"type {t}": held_as(lambda X, t=t: X.toarray().astype(t)) for t in ("u1", ">i2", "i4", "i8", "u8")}
WHOLE |= {f"sparse {t}": held_as(lambda X, t=t: X.astype(t)) for t in ("i1", "u2", "i8", "u8")}
REWRITTEN: dict[str, Change] = {
    "rows unnamed": renamed(PREDICTION, "obs", 0),
    "rows counted by R": renamed(PREDICTION, "obs", 1),
    "columns unnamed": renamed(PREDICTION, "var", 0),
    "solution's rows unnamed": renamed(SOLUTION, "obs", 0),
    "solution's columns unnamed": renamed(SOLUTION, "var", 0),
    "nothing named": lambda files, rng: [renamed(None, a, 0)(files, rng) for a in ("obs", "var")],
    "more in the files": more,
    "types as categories": truth("cell_type", lambda v: pd.Categorical(v, [*v.unique()[::-1]])),
    "types of other names": truth("cell_type", lambda v: v.map(lambda t: NAMES.get(t, t))),
    "types as numbers": truth("cell_type", lambda v: pd.factorize(v)[0] * 3.0),
    "batches as flags": truth("batch", lambda v: pd.array(v == v.iloc[0], dtype="boolean")),
    "batches as numbers": truth("batch", lambda v: (v == v.iloc[0]).astype("i8")),
}
FORMS_OF = {
    "predict_modality": WHOLE,
    "match_modality": {
        **{f"pairing as {t}": paired_as(lambda v, t=t: v.astype(t)) for t in ("f8", "f4", "u1", ">i4", "i2")},
        "pairing as a column": paired_as(lambda v: v[:, None]),
    },
    "joint_embedding": {
        f"{column} as {name}": truth(column, form)
        for column in ("S_score", "G2M_score", "pseudotime_order_GEX")
        for name, form in NUMBERS.items()
    }
    | {
        "is_scored as text": truth("is_scored", lambda v: v.map({True: "TRUE", False: "false"})),
        "is_scored as numbers": truth("is_scored", lambda v: v.astype("f4")),
        "is_scored nullable": truth("is_scored", lambda v: v.astype("boolean")),
    },
}


def values(change: Callable[[np.ndarray, np.random.Generator], Any]) -> Change:
    """Other values of the prediction."""

    def changed(files: list[AnnData], rng: np.random.Generator) -> None:
        held = files[PREDICTION]
        X = change(held.X.toarray(), rng)
        var = held.var if X.shape[1] == held.n_vars else None
        files[PREDICTION] = AnnData(X, held.obs, var)

    return changed


def both(files: list[AnnData], rng: np.random.Generator) -> None:
    """All cells in another order, in both files."""
    order = rng.permutation(N)
    if "pairing_ix" in files[SOLUTION].uns:
        files[SOLUTION].uns["pairing_ix"] = np.argsort(order)[files[SOLUTION].uns["pairing_ix"]]
    files[:] = [cells[order].copy() for cells in files]


def unnamed_rows(files: list[AnnData], rng: np.random.Generator) -> None:
    """A prediction in another order whose names do not tell: it is scored as it is."""
    files[PREDICTION] = files[PREDICTION][rng.permutation(N)].copy()
    renamed(PREDICTION, "obs", 0)(files, rng)
    renamed(PREDICTION, "var", 0)(files, rng)


def at(value: Any, dtype: str = "f8") -> Change:
    """One value of one of both files becomes this."""

    def change(cells: AnnData, rng: np.random.Generator) -> AnnData:
        X = cells.X.toarray().astype(dtype)
        X[tuple(rng.integers(X.shape))] = value
        return AnnData(X, cells.obs, cells.var, uns=cells.uns)

    return spread(change)


def cut(pick: Callable[[AnnData], AnnData], *which: int) -> Change:
    """Other cells or features in the prediction, or in these files."""
    return lambda files, rng: [files.__setitem__(k, pick(files[k]).copy()) for k in which or [PREDICTION]]


def twice(files: list[AnnData], rng: np.random.Generator) -> None:
    names = list(ROWS)
    names[int(rng.integers(1, N))] = names[0]
    files[int(rng.integers(2))].obs_names = names


KNOWN: dict[str, dict[str, Change]] = {
    "predict_modality": {
        "shifted": values(lambda X, rng: X + rng.integers(1, 9)),
        "scaled": values(lambda X, rng: X * rng.random()),
        "noise": values(lambda X, rng: X + rng.normal(size=X.shape)),
        "nothing but zeros": values(lambda X, rng: X * 0),
        "negative": values(lambda X, rng: -X),
        "large": values(lambda X, rng: X * 1e12),
        "bool": values(lambda X, rng: X > 3),
        "another order, unnamed": unnamed_rows,
        "both in another order": both,
    },
    "match_modality": {
        "one hot": values(lambda X, rng: np.eye(N)[rng.permutation(N)]),
        "bool": values(lambda X, rng: np.eye(N, dtype=bool)[rng.permutation(N)]),
        "even": values(lambda X, rng: np.full((N, N), 1 / N)),
        "a row without weight": values(lambda X, rng: X * (np.arange(N) != rng.integers(N))[:, None]),
        "random weights": values(lambda X, rng: rng.dirichlet(np.ones(N), N)),
        "another order, unnamed": unnamed_rows,
        "both in another order": both,
    },
    "joint_embedding": {
        "scaled": values(lambda X, rng: X * 2.0 ** rng.integers(-9, 9)),
        "dead dimension": values(lambda X, rng: np.insert(X, rng.integers(4), rng.integers(9), 1)),
        "moved": values(lambda X, rng: X + rng.integers(1, 9)),
        "mirrored": values(lambda X, rng: X * rng.choice([-1, 1], X.shape[1])),
        "other embedding": values(lambda X, rng: rng.normal(size=(N, 7)).astype(np.float32)),
        "one dimension": values(lambda X, rng: X[:, :1]),
    },
}
SAME_SCORE = ("scaled", "mirrored", "dead dimension")  # of an embedding
REFUSED: dict[str, Change] = {
    "NaN": at(np.nan),
    "infinite": at(np.inf),
    "beyond all": at(1e300),
    "imaginary": at(1000j, "c16"),
    "imaginary part 0": at(1, "c8"),
    "a cell less": cut(lambda x: x[:-1]),
    "cells twice": cut(lambda x: ad.concat([x, x], index_unique="-")),
    "reversed": cut(lambda x: x[::-1]),
    "other names": cut(lambda x: AnnData(x.X, x.obs.set_axis([f"x{n}" for n in ROWS]), x.var)),
    "no cells": cut(lambda x: x[:0]),
    "a name twice": twice,
    "no X": lambda files, rng: spread(lambda x, rng: AnnData(None, x.obs, x.var))(files, rng),
}
REFUSED_OF: dict[str, dict[str, Change]] = {
    "predict_modality": {
        "transposed": cut(lambda x: x.T),
        "a feature less": cut(lambda x: x[:, 1:]),
        "features in another order": cut(lambda x: x[:, ::-1]),
    },
    "match_modality": {
        "transposed": cut(lambda x: x.T),
        "negative": values(lambda X, rng: X - 1e-3),
        "rows of 2": values(lambda X, rng: X * 2),
        "columns in another order": cut(lambda x: x[:, ::-1]),
        "pairing with fractions": paired_as(lambda v: v + 0.25),
        "pairing from 1": paired_as(lambda v: v + 1),
        "pairing repeated": paired_as(lambda v: np.where(v == 3, 4, v)),
        "pairing negative": paired_as(lambda v: np.where(v == 0, -N, v)),
        "pairing too short": paired_as(lambda v: v[:-1]),
        "pairing beyond int64": paired_as(lambda v: np.where(v == 0, 2**63 + 0.0, v)),
        "pairing wraps": paired_as(lambda v: v.astype("u8") + 2**63),
        "pairing NaN": paired_as(lambda v: np.where(v == 5, np.nan, v)),
        "pairing as text": paired_as(lambda v: v.astype(str)),
        "pairing imaginary": paired_as(lambda v: v + 1j),
    },
    "joint_embedding": {
        "transposed": cut(lambda x: x.T),
        "no dimension": cut(lambda x: x[:, :0]),
        "101 dimensions": values(lambda X, rng: rng.normal(size=(N, 101))),
        "score in words": truth("S_score", lambda v: v.map(repr).where(v.index != "cell3", "high")),
        "score infinite": truth("G2M_score", lambda v: v.where(v.index != "cell3", np.inf)),
        "score imaginary": truth("S_score", lambda v: v.to_numpy() + 1j),
        "is_scored in words": truth("is_scored", lambda v: v.map({True: "yes", False: "maybe"})),
        "is_scored missing": truth("is_scored", lambda v: v.astype(object).where(v, "NA").astype(str)),
    },
}


def read_back(cells: AnnData) -> AnnData:
    """With columns that pandas can compute with."""
    native = {c: v.astype(v.dtype.newbyteorder("=")) for c, v in cells.obs.items() if v.dtype.kind == "f"}
    return AnnData(cells.X, cells.obs.assign(**native), cells.var, uns=cells.uns)


def write(files: list[AnnData], folder: Path, rng: np.random.Generator) -> list[Path]:
    """The files, zipped inside or not; under a name that needs no care, or some."""
    name = rng.choice(["", "é🧬 [1] ", "a,b=c'{"])
    paths = [folder / f"{name}{kind}.h5ad" for kind in ("prediction", "solution")]
    for cells, path in zip(files, paths, strict=True):
        cells.write_h5ad(path, compression=rng.choice([None, "gzip", "lzf"]))
    return paths


def scored(task: str, paths: list[Path], right: list[Any], **more: Any) -> Attempt:
    command = ["score", "--json", "--task", task, "--prediction", str(paths[0]), "--solution", str(paths[1])]

    def read(printed: str) -> dict[str, float | None]:
        return {name: score["value"] for name, score in json.loads(printed).items()}

    return Attempt(command, right, read=read, **more)


def rewritten(task: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """The same numbers and names in other forms: the score is the same."""
    files = [cells.copy() for cells in plain(task)]
    others = rng.choice(sorted(REWRITTEN), 2 * (name not in REWRITTEN), replace=False).tolist()
    for each in (name, *others):
        {**REWRITTEN, **FORMS, **FORMS_OF[task]}[each](files, rng)
    right = [scores(task)]
    if task == "joint_embedding" and re.search(RENAMED, f"{name} {others}"):
        # the order of the names is that of sums in single precision
        again = library(task, *map(read_back, files))
        right += [again] if same(again, right[0], 1e-6) else []
    return scored(task, write(files, folder, rng), right)


def known(task: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """Other values, whose score is computed here."""
    files = [cells.copy() for cells in plain(task)]
    KNOWN[task][name](files, rng)
    if task != "joint_embedding":
        right = independent(task, *files)
    else:
        right = scores(task) if name in SAME_SCORE else library(task, *files)
    for other in rng.choice([name for name in REWRITTEN if not re.search(RENAMED, name)], 2, replace=False):
        REWRITTEN[other](files, rng)
    return scored(task, write(files, folder, rng), [right])


def refused(task: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """Files that hold no such prediction: one line."""
    files = [cells.copy() for cells in plain(task)]
    {**REFUSED, **REFUSED_OF[task]}[name](files, rng)
    return scored(task, write(files, folder, rng), [], line=True)


def reading(task: str, paths: list[Path]) -> list[Any]:
    """What the scores are of what anndata reads."""
    try:
        files = [ad.read_h5ad(path) for path in paths]
        return [independent(task, *files) or library(task, *files)]
    except Exception:  # then nothing but a line is right
        return []


def damaged(task: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """One of both files changed by h5py."""
    paths = write([cells.copy() for cells in plain(task)], folder, np.random.default_rng(0))
    which = PREDICTION if name == "two values at one place" else int(rng.integers(2))
    ways = MUTATIONS | SAME | leading(str(paths[1 - which]))
    damage(paths[which], ways[name], int(rng.integers(2**31)))
    if name in SAME or (name in OF_TABLES and which == PREDICTION):
        return scored(task, paths, [scores(task)])
    # a transposed matrix that nobody can tell, and values that take 3 GB to read where a solution holds them
    readable = name == "other format" and task == "match_modality"
    readable |= name == "giant chunk" and which == SOLUTION
    found = partial(reading, task, paths) if readable else list
    return scored(task, paths, [], line=True, otherwise=found)


def raw(task: str, name: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """One of both files changed as bytes: a line, or the score of what anndata reads."""
    paths = write([cells.copy() for cells in plain(task)], folder, rng)
    spoil(paths[int(rng.integers(2))], name, rng)
    if name.endswith("bytes"):
        return scored(task, paths, [scores(task)], line=True, otherwise=partial(reading, task, paths))
    return scored(task, paths, [], line=True)


RAW = ("truncated", "zipped", "empty", "noise", "pipe", "folder", "gone", *(f"{k} bytes" for k in (1, 3, 20)))
SHARES = dict(zip(TASKS, (0.23, 0.23, 0.12), strict=True))
TABLES: dict[str, tuple[float, dict[str, Any]]] = {}
for task in TASKS:
    makers = {
        rewritten: (*REWRITTEN, *FORMS, *FORMS_OF[task]),
        known: KNOWN[task],
        refused: (*REFUSED, *REFUSED_OF[task]),
        damaged: (*MUTATIONS, *SAME, *leading("")),
        raw: RAW,
    }
    table = {f"{m.__name__}, {n}": partial(m, task, n) for m, names in makers.items() for n in names}
    TABLES[task] = (SHARES[task], table)
    scores(task)  # now, so that no case has to
