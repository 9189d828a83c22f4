"""The check of every data set's cells, names and values, before a task may use them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.labels import check_filled, some, tidy_labels
from scmobench.data.matrix import checked_matrix
from scmobench.data.pairing import unpaired
from scmobench.types import MODALITIES, Paired, feature_type, part

FILLED = ("batch", "cell_type")  # labels that a data set must have for every cell, or not at all
MIN_CELLS = 20
MIN_FEATURES = 2
NEARLY = 1e-3  # by which counts may be off that were calculated back from other values
CHUNK = 1 << 22  # values


def check(
    paired: Paired, *, empty_features: str = "error", empty_cells: str = "error", copy: bool = True
) -> Paired:
    """Refuse cells that a benchmark cannot use, and bring the rest into one form.

    Returns the same cells with X (and ``layers["counts"]`` where X is not counts) as CSR float32 with sorted
    indices and no stored zeros, ``obs["batch"]`` alone in both modalities, labels as `tidy_labels` gives
    them, and `Paired.hash`. Raises ValueError if the cells cannot be used; the message says what to change.

    Parameters
    ----------
    paired : the cells as read; they stay unchanged.
    empty_features : what to do with a feature without counts in all cells: ``keep``, ``drop`` or ``error``.
    empty_cells : what to do with a cell without counts in one modality: ``drop`` (from both) or ``error``.
    copy : False returns matrices that need no change as they are; the caller must not change them then.
    """
    for modality, allowed in ((paired.mod1, ("GEX",)), (paired.mod2, MODALITIES[1:])):
        _check_declared(paired, modality, allowed)
    _check_names(paired)
    obs = tidy_labels(paired.name, paired.obs)
    for column in [c for c in FILLED if c in obs]:
        check_filled(paired.name, obs[column])
    mod1, mod2 = (_tidy(paired, modality, copy) for modality in (paired.mod1, paired.mod2))
    filled = (_counts(mod1).getnnz(axis=1) > 0) & (_counts(mod2).getnnz(axis=1) > 0)
    if not filled.all():
        if empty_cells == "error":
            raise ValueError(
                f"{paired.name}: {(~filled).sum()} cells have no counts in one modality, e.g. "
                f"{some(paired.obs.index[~filled])}; dataset.empty_cells=drop leaves them out"
            )
        mod1, mod2 = part(mod1, filled), part(mod2, filled)
        obs = tidy_labels(paired.name, obs[filled])  # a batch may be gone
    # After the cells, since a feature may have all its counts in the cells that were dropped. No cell
    # becomes empty by losing features that are empty in all cells.
    mod1, mod2 = (_without_empty_features(paired.name, m, empty_features) for m in (mod1, mod2))
    mod1.obs, mod2.obs = obs[["batch"]].copy(), obs[["batch"]].copy()
    _check_size(paired.name, mod1, mod2, obs)
    sha = _digest(mod1, mod2, obs, paired.normalization)
    return replace(paired, mod1=mod1, mod2=mod2, obs=obs, hash=sha)


def _check_declared(paired: Paired, modality: AnnData, allowed: tuple[str, ...]) -> None:
    """Refuse a modality whose feature type or values are not declared."""
    name = paired.name
    kinds = modality.var["feature_types"].unique() if "feature_types" in modality.var else ()
    if len(kinds) != 1 or kinds[0] not in allowed:
        raise ValueError(
            f'{name}: expected var["feature_types"] to be one of {allowed} for every feature, '
            f"found {sorted(map(str, kinds))}; mod1 is gene expression (GEX), mod2 is ADT or ATAC"
        )
    if kinds[0] not in paired.normalization:
        raise ValueError(
            f"{name}: expected `normalization` to say what X of {kinds[0]} holds, found "
            f"{dict(paired.normalization)}: add {kinds[0]}, with `counts` for counts"
        )


def _check_names(paired: Paired) -> None:
    """Refuse names that are there twice, and tables that are not of the same cells in the same order."""
    name, mod1, mod2, obs = paired.name, paired.mod1, paired.mod2, paired.obs
    names = {f"{kind} feature names": m.var_names for kind, m in zip(paired.pair, (mod1, mod2), strict=True)}
    for what, index in {"cell names": mod1.obs_names, **names}.items():
        if not index.is_unique:
            raise ValueError(
                f"{name}: {what} must be unique, found twice: {some(index[index.duplicated()].unique())}; "
                "rename them (for features, anndata's var_names_make_unique())"
            )
    if not mod1.obs_names.equals(mod2.obs_names):
        raise ValueError(f"{name}: {unpaired(mod1, mod2)}")
    if not obs.index.equals(mod1.obs_names):
        raise ValueError(f"{name}: the rows of obs are not the cells of mod1 in the same order")
    if missing := [c for c in ("batch", "is_train", "is_scored") if c not in obs]:
        raise ValueError(f"{name}: the table of cells lacks {missing}; it has {list(obs.columns)}")


def _tidy(paired: Paired, modality: AnnData, copy: bool) -> AnnData:
    kind = feature_type(modality)
    normalization = str(paired.normalization[kind])
    where = f"{paired.name} {kind}"
    X = _sound(_own(modality.X, f"{where} X", copy), normalization, f"{where} X", modality, paired.pair)
    layers = {}
    if normalization != "counts" and "counts" in modality.layers:
        place = f"{where} layer counts"
        counts = _own(modality.layers["counts"], place, copy)
        layers["counts"] = _sound(counts, "counts", place, modality, paired.pair)
    return AnnData(X, obs=pd.DataFrame(index=modality.obs_names), var=modality.var.copy(), layers=layers)


def _own(matrix: object, where: str, copy: bool) -> sp.csr_matrix:
    """CSR float32 with sorted indices and no stored zeros; without ``copy`` the matrix itself if it is so."""
    X = sp.csr_matrix(checked_matrix(matrix, where), dtype=np.float32, copy=copy)
    if not copy and not (X.has_sorted_indices and X.data.all()):
        X = X.copy()
    X.sort_indices()
    X.eliminate_zeros()
    return X


def _sound(
    X: sp.csr_matrix, normalization: str, where: str, modality: AnnData, pair: tuple[str, str]
) -> sp.csr_matrix:
    """The matrix; refused where its values cannot be what ``normalization`` declares."""
    unsigned = normalization in ("counts", "binary") or normalization.endswith("log1p")
    if (bad := ~np.isfinite(X.data)).any():
        told = "are NaN or infinite"
        advice = "set them to 0 or leave these features out"
    elif unsigned and (bad := X.data < 0).any():
        told = "are negative"
        advice = (
            f"{normalization} cannot be negative. If X is centred or scaled, give the raw counts or say what "
            f"X is: {_declared(pair, feature_type(modality), 'my_values')}"
        )
    elif normalization == "counts" and (bad := _fractions(X.data)).any():
        told = "are fractions, expected raw counts (whole numbers)"
        advice = (
            f"where a layer has the counts, read it: dataset.layer=LAYER {_declared(pair)}; if adata.raw has "
            f"them, save adata.raw.to_adata(); or say what X is: {_declared(pair, feature_type(modality))}"
        )
        corrected = sp.csr_matrix(checked_matrix(modality.layers.get("counts", np.eye(0)), where))
        if _fractions(corrected.data).any():
            held, why = 'adata.layers["counts"]', "fractions too, as SoupX writes them"
        elif np.allclose(X.data, np.rint(X.data), rtol=0, atol=NEARLY):
            held, why = "adata.X", "counts but for their rounding"
        else:
            held = ""
        if held:
            advice = f"{held} holds {why}: round them, `{held} = np.rint({held})`"
    elif normalization == "binary" and (bad := X.data != 1).any():
        told, advice = "are other than 0 and 1", "declare what X holds by its `normalization`"
    else:
        return X
    at = int(np.argmax(bad))
    row = int(np.searchsorted(X.indptr, at, side="right")) - 1
    cell, feature = modality.obs_names[row], modality.var_names[X.indices[at]]
    raise ValueError(
        f"{where}: {bad.sum()} values {told}; the first, {X.data[at]:.9g}, is in cell {cell}, feature "
        f"{feature}; {advice}"
    )


def _fractions(values: np.ndarray) -> np.ndarray:
    """Which values are no whole numbers, found some million at a time: a full-size set has gigabytes."""
    parts = np.array_split(values, 1 + len(values) // CHUNK)
    return np.concatenate([part != np.floor(part) for part in parts])


def _declared(pair: tuple[str, str], normalized: str = "", name: str = "my_log1p") -> str:
    """The setting that says what both modalities hold, in quotes for the shell."""
    holds = (f"{kind}:{name if kind == normalized else 'counts'}" for kind in pair)
    return f"'dataset.normalization={{{','.join(holds)}}}'"


def _counts(modality: AnnData) -> sp.csr_matrix:
    return modality.layers.get("counts", modality.X)


def _without_empty_features(name: str, modality: AnnData, decision: str) -> AnnData:
    filled = _counts(modality).getnnz(axis=0) > 0
    if filled.all() or decision == "keep":
        return modality
    if decision == "error":
        raise ValueError(
            f"{name}: {(~filled).sum()} of {modality.n_vars} {feature_type(modality)} features have no "
            f"counts in any cell, e.g. {some(modality.var_names[~filled])}; dataset.empty_features=drop "
            "leaves them out, dataset.empty_features=keep has zeros predicted for them"
        )
    return part(modality, features=filled)


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


def _digest(mod1: AnnData, mod2: AnnData, obs: pd.DataFrame, normalization: Mapping[str, str]) -> str:
    sha = hashlib.sha256()

    def add(texts: Iterable[object]) -> None:
        sha.update("\n".join(map(str, texts)).encode() + b"\0")

    for modality in (mod1, mod2):
        kind = feature_type(modality)
        add([kind, normalization[kind], *modality.var_names])
        for X in (modality.X, *(modality.layers[k] for k in sorted(modality.layers))):
            for array, dtype in ((X.indptr, "<i8"), (X.indices, "<i4"), (X.data, "<f4")):
                sha.update(np.ascontiguousarray(array, dtype=dtype).data)
    add(obs.index)
    for column in sorted(obs.columns):
        values = obs[column]
        add([column, *(values.map("{:.6g}".format) if values.dtype.kind == "f" else values.astype(str))])
    return sha.hexdigest()
