"""The door: no dataset reaches a task before its cells, names and values have been checked."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.labels import check_filled, tidy_labels
from scmobench.data.matrix import checked_matrix
from scmobench.types import MODALITIES, Paired, feature_type

FILLED = ("batch", "cell_type")
"""Labels that a dataset must have of every cell, or not at all."""
MIN_CELLS = 20
MIN_FEATURES = 2
DECISIONS = {"empty_features": ("keep", "drop", "error"), "empty_cells": ("drop", "error")}


def check(paired: Paired, *, empty_features: str = "error", empty_cells: str = "error") -> Paired:
    """Refuse cells that a benchmark cannot use, and bring the rest into one form.

    Parameters
    ----------
    paired : as a source read it; left untouched.
    empty_features : a feature that no cell has a count of: ``keep``, ``drop`` or ``error``.
    empty_cells : a cell without a count in either modality: ``drop`` (from both) or ``error``.

    Returns
    -------
    The same cells with X (and ``layers["counts"]`` where X is not counts) as CSR float32 with sorted
    indices and no stored zeros, ``obs["batch"]`` alone in both modalities, labels as `tidy_labels` gives
    them, and `Paired.hash`. Empty cells go first, then the features that are empty in the cells left.

    Raises
    ------
    ValueError : with what was expected, what was found and what to do.
    """
    for key, value in (("empty_features", empty_features), ("empty_cells", empty_cells)):
        if value not in DECISIONS[key]:
            raise ValueError(f"expected {key} to be one of {DECISIONS[key]}, found {value!r}")
    _check_cells(paired)
    obs = tidy_labels(paired.name, paired.obs)
    for column in [c for c in FILLED if c in obs]:
        check_filled(paired.name, obs[column])
    mod1, mod2 = (_tidy(paired, modality) for modality in (paired.mod1, paired.mod2))
    filled = (_counts(mod1).getnnz(axis=1) > 0) & (_counts(mod2).getnnz(axis=1) > 0)
    if not filled.all():
        if empty_cells == "error":
            raise ValueError(
                f"{paired.name}: {(~filled).sum()} cells have no counts in one modality, e.g. "
                f"{_some(paired.obs.index[~filled])}; dataset.empty_cells=drop leaves them out"
            )
        mod1, mod2 = mod1[filled].copy(), mod2[filled].copy()
        obs = tidy_labels(paired.name, obs[filled])  # a batch may be gone
    # After the cells: a feature may have its counts in those that were dropped. No cell becomes empty by
    # losing features that are empty in all cells.
    mod1, mod2 = (_without_empty_features(paired.name, m, empty_features) for m in (mod1, mod2))
    mod1.obs, mod2.obs = obs[["batch"]].copy(), obs[["batch"]].copy()
    _check_size(paired.name, mod1, mod2, obs)
    return replace(
        paired, mod1=mod1, mod2=mod2, obs=obs, hash=_digest(mod1, mod2, obs, dict(paired.normalization))
    )


def _check_cells(paired: Paired) -> None:
    name, mod1, mod2, obs = paired.name, paired.mod1, paired.mod2, paired.obs
    for modality, allowed in ((mod1, ("GEX",)), (mod2, MODALITIES[1:])):
        found = (
            sorted(map(str, modality.var["feature_types"].unique()))
            if "feature_types" in modality.var
            else []
        )
        if len(found) != 1 or found[0] not in allowed:
            raise ValueError(
                f'{name}: expected var["feature_types"] to be one of {allowed} for every feature, '
                f"found {found}; mod1 is gene expression (GEX), mod2 is ADT or ATAC"
            )
        if found[0] not in paired.normalization:
            raise ValueError(
                f"{name}: say what X of {found[0]} holds, e.g. `normalization: {{{found[0]}: counts}}`"
            )
    for what, index in (
        ("cell names", mod1.obs_names),
        (f"{paired.pair[0]} feature names", mod1.var_names),
        (f"{paired.pair[1]} feature names", mod2.var_names),
    ):
        if not index.is_unique:
            raise ValueError(
                f"{name}: {what} must be unique, found twice: {_some(index[index.duplicated()].unique())}; "
                "rename them (for features, anndata's var_names_make_unique())"
            )
    _check_pairing(name, mod1, mod2)
    if not obs.index.equals(mod1.obs_names):
        raise ValueError(f"{name}: the rows of obs are not the cells of mod1 in the same order")
    missing = [c for c in ("batch", "is_train", "is_scored") if c not in obs]
    if missing:
        raise ValueError(f"{name}: the table of cells lacks {missing}; it has {list(obs.columns)}")


def _check_pairing(name: str, mod1: AnnData, mod2: AnnData) -> None:
    cells1, cells2 = mod1.obs_names, mod2.obs_names
    if cells1.equals(cells2):
        return
    if len(mod1.var_names.intersection(mod2.var_names)) > 0.9 * min(
        mod1.n_vars, mod2.n_vars, len(cells1)
    ) and len(cells1.intersection(cells2)) < 0.5 * len(cells1):
        raise ValueError(f"{name}: the columns of both files are the same cells; transpose them (`adata.T`)")
    for one, other, which in ((cells1, mod2.var_names, "mod2"), (cells2, mod1.var_names, "mod1")):
        if len(one.intersection(other)) > 0.5 * len(one):
            raise ValueError(
                f"{name}: cell names of one modality are the column names of {which}: rows must be cells; "
                f"transpose {which} (`adata.T`)"
            )
    only1, only2 = cells1.difference(cells2, sort=False), cells2.difference(cells1, sort=False)
    if len(only1) or len(only2):
        raise ValueError(
            f"{name}: every cell must be in both modalities, found {len(only1)} cells only in mod1"
            f"{_example(only1)} and {len(only2)} only in mod2{_example(only2)}; "
            "check that barcodes have the same suffix, and keep the cells that both have"
        )
    first = int(np.argmax(cells1.to_numpy() != cells2.to_numpy())) if len(cells1) == len(cells2) else 0
    raise ValueError(
        f"{name}: both modalities have the same {len(cells1)} cells in another order (first at row {first}: "
        f"{cells1[first]} and {cells2[first]}); reorder one: `mod2 = mod2[mod1.obs_names]`"
    )


def _tidy(paired: Paired, modality: AnnData) -> AnnData:
    kind = feature_type(modality)
    normalization = str(paired.normalization[kind])
    where = f"{paired.name} {kind}"
    X = _csr(modality.X, f"{where} X")
    _check_values(X, normalization, f"{where} X", modality, paired.pair)
    layers = {}
    if normalization != "counts" and "counts" in modality.layers:
        layers["counts"] = _csr(modality.layers["counts"], f"{where} counts")
        _check_values(layers["counts"], "counts", f"{where} layer counts", modality, paired.pair)
    obs = pd.DataFrame(index=modality.obs_names)
    return AnnData(X=X, obs=obs, var=modality.var.copy(), layers=layers)


def _csr(matrix: object, where: str) -> sp.csr_matrix:
    csr = sp.csr_matrix(checked_matrix(matrix, where), dtype=np.float32, copy=True)
    csr.sort_indices()
    csr.eliminate_zeros()
    return csr


def _check_values(
    X: sp.csr_matrix, normalization: str, where: str, modality: AnnData, pair: tuple[str, str]
) -> None:
    bad = ~np.isfinite(X.data)
    if bad.any():
        raise ValueError(
            f"{where}: {bad.sum()} values are NaN or infinite, the first {_place(X, bad, modality)}; "
            "set them to 0 or leave these features out"
        )
    unsigned = normalization == "counts" or normalization.endswith("log1p") or normalization == "binary"
    if unsigned and X.nnz and X.data.min() < 0:
        bad = X.data < 0
        raise ValueError(
            f"{where}: {bad.sum()} values are negative, the first {_place(X, bad, modality)}; "
            f"{normalization} cannot be negative. If X is centred or scaled, give the raw counts or "
            "declare its `normalization`"
        )
    if normalization == "counts" and (bad := X.data != np.floor(X.data)).any():
        raise ValueError(
            f"{where}: expected raw counts (whole numbers), found {bad.sum()} fractions, the first "
            f"{X.data[bad][0]:.6g} {_place(X, bad, modality)}; where a layer of both modalities has the "
            f"counts, read it: dataset.layer=counts {_declared(pair)}; otherwise say what X "
            f"holds, e.g. {_declared(pair, feature_type(modality))}"
        )
    if normalization == "binary" and X.nnz and (X.data != 1).any():
        raise ValueError(f"{where}: declared binary, found values other than 0 and 1, e.g. {X.data.max():g}")


def _declared(pair: tuple[str, str], normalized: str = "") -> str:
    """An override that says what both modalities hold; in quotes, for the shell."""
    holds = (f"{kind}:{'my_log1p' if kind == normalized else 'counts'}" for kind in pair)
    return f"'dataset.normalization={{{','.join(holds)}}}'"


def _place(X: sp.csr_matrix, bad: np.ndarray, modality: AnnData) -> str:
    at = int(np.argmax(bad))
    row = int(np.searchsorted(X.indptr, at, side="right")) - 1
    return f"in cell {modality.obs_names[row]}, feature {modality.var_names[X.indices[at]]}"


def _counts(modality: AnnData) -> sp.csr_matrix:
    return modality.layers.get("counts", modality.X)


def _without_empty_features(name: str, modality: AnnData, decision: str) -> AnnData:
    filled = _counts(modality).getnnz(axis=0) > 0
    if filled.all() or decision == "keep":
        return modality
    if decision == "error":
        raise ValueError(
            f"{name}: {(~filled).sum()} of {modality.n_vars} {feature_type(modality)} features have no "
            f"counts in any cell, e.g. {_some(modality.var_names[~filled])}; dataset.empty_features=drop "
            "leaves them out, dataset.empty_features=keep has zeros predicted for them"
        )
    return modality[:, filled].copy()


def _check_size(name: str, mod1: AnnData, mod2: AnnData, obs: pd.DataFrame) -> None:
    if mod1.n_obs < MIN_CELLS or min(mod1.n_vars, mod2.n_vars) < MIN_FEATURES:
        raise ValueError(
            f"{name} is too small: {mod1.n_obs} cells, {mod1.n_vars} and {mod2.n_vars} features; "
            f"expected at least {MIN_CELLS} cells and {MIN_FEATURES} features a modality"
        )
    if obs["is_train"].all() or not obs["is_train"].any():
        raise ValueError(
            f"{name}: expected training and test cells, found {int(obs['is_train'].sum())} training cells "
            f"of {len(obs)}; name the test batches: 'dataset.test_batches=[…]'"
        )


def _digest(mod1: AnnData, mod2: AnnData, obs: pd.DataFrame, normalization: dict[str, str]) -> str:
    sha = hashlib.sha256()
    for modality in (mod1, mod2):
        kind = feature_type(modality)
        sha.update(_text([kind, normalization[kind], *modality.var_names]))
        for X in (modality.X, *(modality.layers[k] for k in sorted(modality.layers))):
            for array, dtype in ((X.indptr, "<i8"), (X.indices, "<i4"), (X.data, "<f4")):
                sha.update(np.ascontiguousarray(array, dtype=dtype).data)
    sha.update(_text(obs.index))
    for column in sorted(obs.columns):
        values = obs[column]
        if values.dtype.kind == "f":
            values = values.map("{:.6g}".format)
        sha.update(_text([column, *values.astype(str)]))
    return sha.hexdigest()


def _text(values: object) -> bytes:
    return "\n".join(map(str, values)).encode() + b"\0"


def _some(index: pd.Index) -> str:
    return ", ".join(map(str, index[:3]))


def _example(index: pd.Index) -> str:
    return f" (e.g. {_some(index)})" if len(index) else ""
