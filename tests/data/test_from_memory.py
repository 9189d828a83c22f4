"""Cells in memory load at the first try, as the same cells in files do, and stay as they are."""

import re
import warnings

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

import scmobench as sb
from scmobench.data.own import Own
from scmobench.types import Paired


def standard(paired, mod2: str = "prot") -> mudata.MuData:
    """What scanpy's and muon's tutorials end with: log-normalised X, counts in a layer, usual names."""
    mods = {}
    for name, modality in (("rna", paired.mod1), (mod2, paired.mod2)):
        cells = ad.AnnData(modality.X.copy(), obs=pd.DataFrame(index=modality.obs_names))
        cells.var_names = modality.var_names
        cells.layers["counts"] = cells.X.copy()
        sc.pp.normalize_total(cells, target_sum=1e4)
        sc.pp.log1p(cells)
        cells.obsm["X_pca"] = np.ones((cells.n_obs, 3))
        mods[name] = cells
    mods["rna"].obs = paired.obs[["batch", "cell_type"]].copy()
    mods["rna"].raw = mods["rna"]
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(mods)


def from_memory(mdata: object = None, **settings: object) -> Paired:
    return sb.load(mdata, **settings)


def state(thing: object) -> object:
    """Everything that an object in memory holds, to compare."""
    if isinstance(thing, mudata.MuData):
        return [state(thing.obs), {name: state(cells) for name, cells in thing.mod.items()}]
    if isinstance(thing, ad.AnnData):
        rooms = (thing.layers, thing.obsm, thing.uns)
        tables = [state(table) for table in (thing.X, thing.obs, thing.var)]
        return [*tables, [{key: state(value) for key, value in room.items()} for room in rooms]]
    if sp.issparse(thing):
        return [thing.format, *(state(array) for array in (thing.data, thing.indices, thing.indptr))]
    if isinstance(thing, pd.DataFrame):
        return [thing.to_csv(), str(thing.dtypes)]
    return thing.tobytes() if isinstance(thing, np.ndarray) else str(thing)


def load_untouched(*things, **settings):
    """Load, and check that the objects are as before."""
    objects = [*things, *(settings[key] for key in ("gex", "mod2") if key in settings)]
    before = [state(thing) for thing in objects]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ad.ImplicitModificationWarning)
        paired = from_memory(*things, **settings)
    assert [state(thing) for thing in objects] == before
    return paired


def test_counts_are_those_of_the_layer_of_that_name(tiny_paired):
    cells = standard(tiny_paired)
    for modality in cells.mod.values():
        modality.X = np.round(modality.X.toarray())  # whole numbers, and no counts
    assert (load_untouched(cells, batch="batch").mod1.X != tiny_paired.mod1.X).nnz == 0
    for modality in cells.mod.values():
        modality.layers["counts"], modality.X = modality.X * 0.5, modality.layers["counts"]
    assert (load_untouched(cells, batch="batch").mod1.X != tiny_paired.mod1.X).nnz == 0


@pytest.mark.parametrize("name", ["prot", "protein", "adt", "ADT"])
def test_a_standard_mudata_loads_as_its_file_does(name, tiny_paired, tmp_path):
    cells = standard(tiny_paired, name)
    paired = load_untouched(cells, batch="batch")
    assert paired.pair == ("GEX", "ADT")
    assert dict(paired.normalization) == {"GEX": "counts", "ADT": "counts"}
    assert (paired.mod1.X != tiny_paired.mod1.X).nnz == 0
    assert (paired.mod2.X != tiny_paired.mod2.X).nnz == 0
    cells.write(tmp_path / "cells.h5mu")
    assert Own(name="memory", h5mu=str(tmp_path / "cells.h5mu"), batch="batch").load().hash == paired.hash


@pytest.mark.parametrize("name", ["atac", "peaks"])
def test_a_standard_multiome_loads(name, tiny_multiome):
    cells = standard(tiny_multiome, name)
    assert from_memory(cells).pair == ("GEX", "ATAC")
    cells.mod["gex"] = cells.mod.pop("rna")
    assert from_memory(cells).pair == ("GEX", "ATAC")


def test_modalities_of_any_name_are_named_by_the_user(tiny_paired):
    expected = from_memory(standard(tiny_paired), batch="batch").hash
    cells = standard(tiny_paired, "my_prot")
    cells.mod["my_rna"] = cells.mod.pop("rna")
    cells.mod["hto"] = cells.mod["my_prot"].copy()
    with pytest.raises(ValueError, match=r"found \['hto', 'my_prot', 'my_rna'\]; name the modalities so"):
        from_memory(cells)
    for second in ({"adt": "my_prot"}, {"protein": "my_prot"}):
        assert load_untouched(cells, modalities={"gex": "my_rna"} | second, batch="batch").hash == expected
    mod2 = {"rna": "my_rna", "mod2": "my_prot"}
    assert load_untouched(cells, modalities=mod2, kind="ADT", batch="batch").hash == expected
    with pytest.raises(ValueError, match=r"Say what it holds: modalities=\{'adt': NAME\}"):
        from_memory(cells, modalities=mod2)
    for wrong in ({"gex": "rna", "adt": "my_prot"}, {"gex": "my_rna", "third": "my_prot"}):
        with pytest.raises(ValueError, match=r"with names of \['my_prot', 'my_rna', 'hto'\], found"):
            from_memory(cells, modalities=wrong)


def test_three_modalities_are_told_apart_by_kind(tiny_paired):
    cells = standard(tiny_paired)
    cells.mod["atac"] = cells.mod["prot"].copy()
    with pytest.raises(ValueError, match='choose by kind="ADT" or kind="ATAC"'):
        from_memory(cells)
    assert load_untouched(cells, kind="ADT").pair[1] == "ADT"
    assert load_untouched(cells, kind="ATAC").pair[1] == "ATAC"


@pytest.mark.parametrize("form", ["csr", "csc", "dense", "integers", "view", "backed", "none"])
def test_two_anndata_in_any_form_are_the_same_cells(form, tiny_paired, tmp_path):
    both = list(standard(tiny_paired).mod.values())
    expected = from_memory(gex=both[0].copy(), mod2=both[1].copy(), kind="ADT", batch="batch")
    for k, cells in enumerate(both):
        if form in ("csc", "dense", "integers"):
            counts = cells.layers["counts"]
            forms = {"csc": counts.tocsc(), "dense": counts.toarray(), "integers": counts.astype(int)}
            cells.X = forms[form]
        if form == "none":
            cells.X = None
        if form == "view":
            twice = ad.concat([cells, cells], keys=["a", "b"], index_unique="-", merge="same")
            both[k] = twice[: cells.n_obs]
        if form == "backed":
            cells.write_h5ad(tmp_path / f"{k}.h5ad")
            both[k] = ad.read_h5ad(tmp_path / f"{k}.h5ad", backed="r")
    both[1].var["feature_types"] = "Antibody Capture"
    paired = load_untouched(gex=both[0], mod2=both[1], batch="batch")
    assert (paired.mod1.X != expected.mod1.X).nnz == 0
    assert (paired.mod2.X != expected.mod2.X).nnz == 0
    assert form == "view" or paired.hash == expected.hash


@pytest.mark.parametrize("form", ["table", "array and names", "array", "sparse"])
def test_proteins_in_obsm_as_totalvi_has_them(form, tiny_paired, tmp_path):
    cells = standard(tiny_paired).mod["rna"]
    counts = tiny_paired.mod2.to_df()
    cells.obsm["protein_expression"] = counts if form == "table" else counts.to_numpy().astype(int)
    if form == "sparse":
        cells.obsm["protein_expression"] = tiny_paired.mod2.X
    if form == "array and names":
        cells.uns["protein_names"] = np.array(counts.columns)
    cells.write_h5ad(tmp_path / "both.h5ad")
    in_memory = [load_untouched(cells, batch="batch"), load_untouched(gex=cells, batch="batch")]
    for paired in (*in_memory, sb.load(tmp_path / "both.h5ad", batch="batch")):
        assert (paired.mod1.X != tiny_paired.mod1.X).nnz == 0
        assert (paired.mod2.X != tiny_paired.mod2.X).nnz == 0
        numbered = [f"protein_{k}" for k in range(20)]
        named = form in ("table", "array and names")
        assert list(paired.mod2.var_names) == (list(counts.columns) if named else numbered)
    with pytest.raises(ValueError, match=r"expected the layer 'counts' in both .* as mod2$"):
        sb.load(tmp_path / "both.h5ad", layer="counts", normalization={"GEX": "counts", "ADT": "counts"})


def test_one_anndata_with_the_features_of_both(tiny_multiome):
    both = ad.concat([tiny_multiome.mod1, tiny_multiome.mod2], axis=1, merge="same")
    paired = load_untouched(both)
    assert (paired.mod2.X != tiny_multiome.mod2.X).nnz == 0
    del both.var["feature_types"]
    with pytest.raises(ValueError, match="does not say which features are genes"):
        from_memory(both)


def test_other_values_are_kept_where_they_are_declared(tiny_paired):
    cells = standard(tiny_paired)
    paired = load_untouched(cells, normalization={"GEX": "my_log1p", "ADT": "my_log1p"})
    assert (paired.mod1.X != cells["rna"].X).nnz == 0
    assert (paired.mod1.layers["counts"] != tiny_paired.mod1.X).nnz == 0
    with pytest.raises(
        ValueError,
        match=r"no layer 'umi' of 120 features, they have \['counts'\]; both .*layers\['umi'\] = adata.X",
    ):
        from_memory(cells, layer="umi", normalization={"GEX": "counts", "ADT": "counts"})
    counts = load_untouched(cells, layer="counts", normalization={"GEX": "counts", "ADT": "counts"})
    assert (counts.mod1.X != tiny_paired.mod1.X).nnz == 0


def test_features_without_counts_are_left_out_and_cells_are_not(tiny_paired):
    cells = standard(tiny_paired)
    X = cells["rna"].layers["counts"].toarray()
    X[:, 3] = 0
    cells["rna"].layers["counts"] = sp.csr_matrix(X)
    assert from_memory(cells).mod1.n_vars == 119
    X[5] = 0
    cells["rna"].layers["counts"] = sp.csr_matrix(X)
    with pytest.raises(ValueError, match="1 cells have no counts") as error:
        from_memory(cells)
    (advice,) = re.findall(r'(\w+)="(\w+)" leaves them out', str(error.value))
    assert len(from_memory(cells, **dict([advice])).obs) == 149


def test_messages_speak_python(tiny_paired):
    cells = standard(tiny_paired)
    with pytest.raises(ValueError, match=r"no column 'donor' in the cell annotation.*one: batch=\"COLUMN\"$"):
        from_memory(cells, batch="donor")
    cells["rna"].obs["cell_type"] = [None, *["T"] * 149]
    with pytest.raises(ValueError, match=r"cells have no cell_type, .* cell_type=None$"):
        from_memory(cells)
    assert from_memory(cells, cell_type=None).hash
    del cells["rna"].layers["counts"]
    with pytest.raises(ValueError, match=r"memory GEX X: .* fractions, expected raw counts") as error:
        from_memory(cells, cell_type=None)
    assert "dataset." not in str(error.value)
    advice = re.search(r"say what X is: normalization=(\{.*\})$", str(error.value))[1]
    assert from_memory(cells, cell_type=None, normalization=eval(advice) | {"ADT": "my_log1p"}).hash
    with pytest.raises(ValueError, match=r"expected kind to be ADT or ATAC, found 'RNA'"):
        from_memory(cells, kind="RNA")


def test_messages_about_files_speak_python_too(tiny_paired, tmp_path):
    gex, adt = (ad.AnnData(m.X, obs=tiny_paired.obs[["batch"]]) for m in (tiny_paired.mod1, tiny_paired.mod2))
    files = {"gex": tmp_path / "g.h5ad", "mod2": tmp_path / "a.h5ad"}
    gex.write_h5ad(files["gex"])
    adt.write_h5ad(files["mod2"])
    with pytest.raises(ValueError, match=r'Say what it holds: kind="ADT" or "ATAC"'):
        sb.load(**files)
    with pytest.raises(ValueError, match=r'name the right one: batch="COLUMN"$'):
        sb.load(**files, kind="ADT", batch="donor", cell_type=None)
    adt.X = adt.X * 0.5
    adt.write_h5ad(files["mod2"])
    with pytest.raises(ValueError, match="are fractions") as error:
        sb.load(**files, kind="ADT", cell_type=None)
    advice = re.search(r"say what X is: normalization=(\{.*\})$", str(error.value))[1]
    assert sb.load(**files, kind="ADT", cell_type=None, normalization=eval(advice)).hash


def test_cells_that_do_not_fit_together_are_refused(tiny_paired):
    cells = standard(tiny_paired)
    gex, adt = cells["rna"], cells["prot"]
    with pytest.raises(ValueError, match="found 1 cells only in mod1"):
        from_memory(gex=gex, mod2=adt[1:], kind="ADT")
    with pytest.raises(ValueError, match=r"in another order .* `mod2 = mod2\[mod1.obs_names\]`"):
        from_memory(gex=gex, mod2=adt[::-1], kind="ADT")
    assert from_memory(gex=gex, mod2=adt[::-1][gex.obs_names], kind="ADT").hash


def test_cells_are_given_in_one_way(tiny_paired):
    cells = standard(tiny_paired)
    gex, adt = cells["rna"], cells["prot"]
    for given in ({}, {"mod2": adt}, {"mdata": cells, "gex": gex}, {"mdata": cells, "gex": gex, "mod2": adt}):
        with pytest.raises(ValueError, match="give the cells in one way"):
            from_memory(**given)
    for thing in (gex.X, gex.to_df(), 3):
        with pytest.raises(TypeError, match="expected an AnnData or a MuData, found"):
            from_memory(thing)
    with pytest.raises(ValueError, match="did you mean batch"):
        from_memory(cells, betch="batch")


def test_later_changes_of_the_objects_do_not_reach_the_cells(tiny_paired):
    gex, mod2 = tiny_paired.mod1.copy(), tiny_paired.mod2.copy()
    cells = from_memory(gex=gex, mod2=mod2)
    before = cells.mod1.X.sum()
    gex.X.data[:] = 7
    assert cells.mod1.X.sum() == before


def test_columns_of_the_public_deposit_are_known(tiny_paired):
    cells = standard(tiny_paired)
    cells.obs["GEX_phase"] = cells["rna"].obs["GEX_pseudotime_order"] = "1"
    cells["prot"].obs["ADT_pseudotime_order"] = 0.5
    found = from_memory(cells).obs
    assert set(found["phase"]) == {"1"}
    cells.obs["Phase"] = "G1"
    cells.obs["S.Score"] = cells.obs["G2M.Score"] = 0.25
    seurat = from_memory(cells).obs
    assert set(seurat["phase"]) == {"1"}
    assert (seurat[["S_score", "G2M_score"]] == 0.25).all(axis=None)
    del cells.obs["GEX_phase"]
    assert set(from_memory(cells).obs["phase"]) == {"G1"}
    assert (found[["pseudotime_order_GEX", "pseudotime_order_ADT"]] == [1, 0.5]).all(axis=None)
