"""The door check: what it refuses, in words that say what to do, and what it leaves alone."""

import re
import tracemalloc
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scmobench as sb
from scmobench.data.check import check
from scmobench.data.own import Own
from scmobench.types import Paired


def changed(paired: Paired, **fields: object) -> Paired:
    return replace(paired, **fields)


def with_values(paired: Paired, which: str, edit) -> Paired:
    modality = getattr(paired, which).copy()
    edit(modality.X)
    return replace(paired, **{which: modality})


def test_checked_cells_are_sparse_sorted_float32_and_pass_again(tiny_paired):
    again = check(tiny_paired)
    for modality in (again.mod1, again.mod2):
        assert sp.isspmatrix_csr(modality.X)
        assert modality.X.dtype == np.float32
        assert modality.X.has_sorted_indices
        assert list(modality.obs.columns) == ["batch"]
    assert again.hash == tiny_paired.hash
    assert len(again.hash) == 64


def test_dense_columns_and_rows_give_the_same_cells_and_hash(tiny_paired):
    dense, columns = tiny_paired.mod1.copy(), tiny_paired.mod1.copy()
    dense.X = dense.X.toarray().astype(float)
    columns.X = columns.X.tocsc()
    columns.X.data = columns.X.data.astype(np.float64)
    assert check(changed(tiny_paired, mod1=dense)).hash == tiny_paired.hash
    assert check(changed(tiny_paired, mod1=columns)).hash == tiny_paired.hash


def test_hash_follows_values_names_split_and_labels(tiny_paired):
    hashes = {tiny_paired.hash}
    more = with_values(tiny_paired, "mod1", lambda X: X.data.__setitem__(0, X.data[0] + 1))
    hashes.add(check(more).hash)
    for column, value in (("is_train", ~tiny_paired.obs["is_train"]), ("S_score", 0.5)):
        hashes.add(check(changed(tiny_paired, obs=tiny_paired.obs.assign(**{column: value}))).hash)
    renamed = tiny_paired.mod2.copy()
    renamed.var_names = [f"{v}x" for v in renamed.var_names]
    hashes.add(check(changed(tiny_paired, mod2=renamed)).hash)
    moved = tiny_paired.mod1.copy()
    moved.X = moved.X[:, ::-1].tocsr().sorted_indices()
    moved.X.data[:], moved.X.indptr[:] = tiny_paired.mod1.X.data, tiny_paired.mod1.X.indptr
    hashes.add(check(changed(tiny_paired, mod1=moved)).hash)
    cells = [f"{name}x" for name in tiny_paired.obs.index]
    mod1, mod2 = tiny_paired.mod1.copy(), tiny_paired.mod2.copy()
    mod1.obs_names = mod2.obs_names = cells
    other = changed(tiny_paired, mod1=mod1, mod2=mod2, obs=tiny_paired.obs.set_axis(cells))
    hashes.add(check(other).hash)
    assert len(hashes) == 7


def test_input_is_left_untouched(tiny_paired):
    before = tiny_paired.mod1.X.copy()
    other = check(tiny_paired)
    other.mod1.X.data[:] = 7
    assert (before != tiny_paired.mod1.X).nnz == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-1.0, "negative"), (0.5, "whole numbers")],
)
@pytest.mark.parametrize("which", ["mod1", "mod2"])
def test_bad_value_is_refused_and_located(tiny_paired, which, value, message):
    modality = getattr(tiny_paired, which)
    start, gene = modality.X.indptr[7], modality.var_names[modality.X.indices[modality.X.indptr[7]]]
    bad = with_values(tiny_paired, which, lambda X: X.data.__setitem__(start, value))
    with pytest.raises(ValueError, match=message) as error:
        check(bad)
    assert f"in cell {modality.obs_names[7]}, feature {gene}" in str(error.value)


def test_declared_normalisation_may_be_fractional_and_centred_values_negative(tiny_paired):
    halves = with_values(tiny_paired, "mod2", lambda X: X.data.__imul__(-0.5))
    declared = changed(halves, normalization={"GEX": "counts", "ADT": "clr_mine"})
    assert check(declared).mod2.X.min() < 0
    with pytest.raises(ValueError, match="cannot be negative"):
        check(changed(halves, normalization={"GEX": "counts", "ADT": "mine_log1p"}))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        check(changed(tiny_paired, normalization={"GEX": "counts", "ADT": "binary"}))
    with pytest.raises(ValueError, match="say what X of ADT holds"):
        check(changed(tiny_paired, normalization={"GEX": "counts"}))


def test_counts_beside_normalised_values_are_kept_and_checked(tiny_paired):
    gex = tiny_paired.mod1.copy()
    gex.layers["counts"] = gex.X.copy()
    gex.X.data = np.log1p(gex.X.data)
    declared = changed(tiny_paired, mod1=gex, normalization={"GEX": "log1p", "ADT": "counts"})
    assert (check(declared).mod1.layers["counts"] != tiny_paired.mod1.X).nnz == 0
    before = check(declared).hash
    gex.layers["counts"].data[0] += 1
    assert check(declared).hash != before
    gex.layers["counts"].data[0] = 0.5
    with pytest.raises(ValueError, match="layer counts: 1 values are fractions, expected raw counts"):
        check(declared)


def test_unpaired_cells_are_counted_and_named(tiny_paired):
    fewer = tiny_paired.mod2[3:].copy()
    with pytest.raises(ValueError, match="found 3 cells only in mod1") as error:
        check(changed(tiny_paired, mod2=fewer))
    assert tiny_paired.mod1.obs_names[0] in str(error.value)


def test_other_order_of_cells_is_refused(tiny_paired):
    with pytest.raises(ValueError, match="in another order"):
        check(changed(tiny_paired, mod2=tiny_paired.mod2[::-1].copy()))


def test_transposed_file_is_recognised(tiny_paired):
    turned = tiny_paired.mod2.T.copy()
    turned.var["feature_types"] = "ADT"
    with pytest.raises(ValueError, match=r"transpose mod2"):
        check(changed(tiny_paired, mod2=turned))
    both = tiny_paired.mod1.T.copy()
    both.var["feature_types"] = "GEX"
    with pytest.raises(ValueError, match="the columns of both files are the same cells"):
        check(changed(tiny_paired, mod1=both, mod2=turned))


def test_cells_with_another_suffix_are_not_called_transposed(tiny_paired):
    mod2, name = tiny_paired.mod2.copy(), tiny_paired.obs.index[0]
    assert mod2.var_names.isin(tiny_paired.mod1.var_names).all()  # proteins by the names of their genes
    mod2.obs_names += "-1"
    with pytest.raises(
        ValueError, match=f"names of cells, found {name} in mod1 and {name}-1 in mod2"
    ) as error:
        check(changed(tiny_paired, mod2=mod2))
    (advice,) = re.findall("`(.*)`", str(error.value))
    exec(advice, {"adata": mod2})
    assert check(changed(tiny_paired, mod2=mod2)).hash == tiny_paired.hash


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda names: "lane1_" + names, "take the prefix off both"),
        (lambda names: names + "-rna", "take the suffix off mod2"),
        (lambda names: names.str.upper(), "in the same order"),
        (
            lambda names: [str(k + 1) for k in range(len(names))],
            "in the same order",
        ),  # the other counts from 0
    ],
)
def test_names_of_cells_become_alike_as_the_message_says(rename, said, tiny_paired):
    mod1, mod2, cells = tiny_paired.mod1.copy(), tiny_paired.mod2.copy(), tiny_paired
    mod2.obs_names = rename(mod2.obs_names)
    if mod2.obs_names[0] == "1":
        mod1.obs_names = [str(k) for k in range(len(mod1))]
        cells = changed(tiny_paired, mod1=mod1, obs=tiny_paired.obs.set_axis(mod1.obs_names))
    with pytest.raises(ValueError, match=f"expected the same names of cells, .*{said}") as error:
        check(changed(cells, mod2=mod2))
    (advice,) = re.findall("`(.*)`", str(error.value))
    exec(advice, {"adata": mod2, "mod1": mod1, "mod2": mod2})
    assert check(changed(cells, mod2=mod2)).mod2.obs_names.equals(mod1.obs_names)


def test_counts_off_by_their_rounding_and_other_values_become_cells_as_the_message_says(tiny_paired):
    gex, adt = (tiny_paired.mod1.copy(), tiny_paired.mod2.copy())
    gex.X = gex.X * np.float32(1 - 1e-6)
    with pytest.raises(ValueError, match=r"counts but for their rounding: round them, `.*`$") as error:
        sb.load(gex=gex, mod2=adt)
    exec(re.findall("`(.*)`", str(error.value))[0], {"adata": gex, "np": np})
    adt.X = adt.X.toarray() - 1
    with pytest.raises(ValueError, match=r"are negative; .* say what X is: normalization=") as error:
        sb.load(gex=gex, mod2=adt)
    said = eval(str(error.value).partition("normalization=")[2])
    assert (sb.load(gex=gex, mod2=adt, normalization=said).mod1.X != tiny_paired.mod1.X).nnz == 0


def test_corrected_counts_are_rounded_as_the_message_says(tiny_paired, tmp_path):
    files = {"gex": tmp_path / "gex.h5ad", "mod2": tmp_path / "adt.h5ad"}
    gex = tiny_paired.mod1.copy()
    gex.layers["counts"] = gex.X * 0.9
    gex.X = np.log1p(gex.X)
    gex.write_h5ad(files["gex"])
    tiny_paired.mod2.write_h5ad(files["mod2"])
    for given in (files, {"gex": gex, "mod2": tiny_paired.mod2}):
        with pytest.raises(
            ValueError, match=r"fractions too, as SoupX writes them: round them, `.*`$"
        ) as error:
            sb.load(**given)
    (advice,) = re.findall("`(.*)`", str(error.value))
    for layer in (gex.layers["counts"], gex.layers["counts"].toarray()):
        gex.layers["counts"] = layer
        exec(advice, {"adata": gex, "np": np})
        gex.write_h5ad(files["gex"])
        assert abs(sb.load(**files).mod1.X - tiny_paired.mod1.X * 0.9).max() <= 0.5


@pytest.mark.parametrize(
    ("which", "axis"), [("mod1", "var_names"), ("mod2", "var_names"), ("mod1", "obs_names")]
)
def test_repeated_names_are_refused(tiny_paired, which, axis):
    modality = getattr(tiny_paired, which).copy()
    names = list(getattr(modality, axis))
    names[1] = names[0]
    setattr(modality, axis, names)
    with pytest.raises(ValueError, match="must be unique") as error:
        check(changed(tiny_paired, **{which: modality}))
    assert names[0] in str(error.value)


def test_feature_types_must_be_gex_and_adt_or_atac(tiny_paired):
    swapped = changed(tiny_paired, mod1=tiny_paired.mod2, mod2=tiny_paired.mod1)
    with pytest.raises(ValueError, match="feature_types"):
        check(swapped)
    unnamed = tiny_paired.mod2.copy()
    del unnamed.var["feature_types"]
    with pytest.raises(ValueError, match="mod2 is ADT or ATAC"):
        check(changed(tiny_paired, mod2=unnamed))


@pytest.mark.parametrize("column", ["batch", "is_train", "is_scored"])
def test_missing_column_is_named(tiny_paired, column):
    with pytest.raises(ValueError, match=column):
        check(changed(tiny_paired, obs=tiny_paired.obs.drop(columns=column)))


def empty_first(paired: Paired, axis: int) -> Paired:
    gex = paired.mod1.copy()
    X = gex.X.tolil()
    if axis == 0:
        X[0] = 0
    else:
        X[:, 0] = 0
    gex.X = X.tocsr()
    return replace(paired, mod1=gex)


def test_empty_features_need_a_decision(tiny_paired):
    empty = empty_first(tiny_paired, 1)
    with pytest.raises(ValueError, match=r"1 of 120 GEX features .*empty_features=drop"):
        check(empty)
    assert check(empty, empty_features="keep").mod1.n_vars == 120
    dropped = check(empty, empty_features="drop")
    assert dropped.mod1.n_vars == 119
    assert tiny_paired.mod1.var_names[0] not in dropped.mod1.var_names


def test_empty_cells_need_a_decision_and_leave_both_modalities(tiny_paired):
    empty = empty_first(tiny_paired, 0)
    with pytest.raises(ValueError, match=r"1 cells have no counts.*empty_cells=drop"):
        check(empty)
    dropped = check(empty, empty_cells="drop")
    assert dropped.mod1.n_obs == dropped.mod2.n_obs == len(dropped.obs) == 149
    assert dropped.obs.index.equals(dropped.mod2.obs_names)


def test_features_are_judged_after_empty_cells_are_gone(tiny_paired):
    gex, adt = tiny_paired.mod1.copy(), tiny_paired.mod2.copy()
    first = (tiny_paired.obs["batch"] == tiny_paired.obs["batch"].iloc[0]).to_numpy()
    X, Y = gex.X.toarray(), adt.X.toarray()
    Y[first] = 0  # a batch without proteins
    X[:, 7] = first * 3  # and a gene that is found in it alone
    gex.X, adt.X = sp.csr_matrix(X), sp.csr_matrix(Y)
    gap = changed(tiny_paired, mod1=gex, mod2=adt)
    with pytest.raises(ValueError, match=f"1 of 120 GEX features have no counts.*{gex.var_names[7]}"):
        check(gap, empty_cells="drop")
    dropped = check(gap, empty_cells="drop", empty_features="drop")
    assert dropped.mod1.shape == ((~first).sum(), 119)
    assert gex.var_names[7] not in dropped.mod1.var_names
    for modality in (dropped.mod1, dropped.mod2):
        assert modality.X.getnnz(axis=0).min() > 0
        assert modality.X.getnnz(axis=1).min() > 0
    kept = check(gap, empty_cells="drop", empty_features="keep")
    assert kept.mod1.n_vars == 120
    for cells in (kept.obs, kept.mod1.obs, kept.mod2.obs):
        assert cells["batch"].value_counts().min() > 0
    assert len({tiny_paired.hash, dropped.hash, kept.hash}) == 3


def test_too_few_cells_and_a_missing_side_are_refused(tiny_paired):
    few = slice(100, 112)
    small = changed(
        tiny_paired,
        mod1=tiny_paired.mod1[few].copy(),
        mod2=tiny_paired.mod2[few].copy(),
        obs=tiny_paired.obs.iloc[few],
    )
    with pytest.raises(ValueError, match="too small: 12 cells"):
        check(small, empty_features="keep")
    with pytest.raises(ValueError, match="expected training and test cells"):
        check(changed(tiny_paired, obs=tiny_paired.obs.assign(is_train=True)))


def test_sparse_values_are_never_made_dense(tiny_paired):
    n, m = 60_000, 50_000  # 12 GB as dense float32
    X = sp.csr_matrix((np.ones(n, np.float32), (np.arange(n), np.arange(n) % m)), shape=(n, m))
    obs = tiny_paired.obs.iloc[np.arange(n) % 150].set_axis([f"c{i}" for i in range(n)])
    gex, adt = AnnData(X=X, obs=obs[[]]), AnnData(X=X[:, :1000] + X[:, -1000:], obs=obs[[]])
    gex.var["feature_types"], adt.var["feature_types"] = "GEX", "ADT"
    wide = changed(tiny_paired, mod1=gex, mod2=adt, obs=obs)
    tracemalloc.start()
    check(wide, empty_features="drop", empty_cells="drop")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_matrices_are_handed_on_where_nobody_else_holds_them(tiny_paired):
    again = check(tiny_paired, copy=False)
    assert again.hash == tiny_paired.hash
    assert np.shares_memory(again.mod1.X.data, tiny_paired.mod1.X.data)
    assert not np.shares_memory(check(tiny_paired).mod1.X.data, tiny_paired.mod1.X.data)
    mod1 = tiny_paired.mod1.copy()
    mod1.X.data[0] = 0  # a stored zero
    found = check(replace(tiny_paired, mod1=mod1), copy=False)
    assert found.mod1.X.nnz == mod1.X.nnz - 1
    assert not np.shares_memory(found.mod1.X.data, mod1.X.data)


def test_counts_of_raw_are_saved_as_the_message_says(tiny_paired, tmp_path):
    for name, modality in (("gex", tiny_paired.mod1), ("mod2", tiny_paired.mod2)):
        cells = ad.AnnData(modality.X, obs=tiny_paired.obs[["batch"]].copy(), var=modality.var)
        cells.raw = cells
        cells.X = cells.X * 0.3
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
    files = {name: str(tmp_path / f"{name}.h5ad") for name in ("gex", "mod2")}
    with pytest.raises(ValueError, match=r"if adata\.raw has them, save adata\.raw\.to_adata\(\)"):
        Own(name="mine", **files).load()
    for file in files.values():
        ad.read_h5ad(file).raw.to_adata().write_h5ad(file)
    assert (Own(name="mine", **files).load().mod1.X != tiny_paired.mod1.X).nnz == 0
