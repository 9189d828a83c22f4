"""Datasets in folders and datasets of one's own: h5ad pairs, h5mu, Cell Ranger output."""

import re
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scib

import scmobench as sb
from cellranger_files import folder_texts, write_folder, write_h5
from scmobench.data.annotated import ORGANISMS
from scmobench.data.folder import Folder
from scmobench.data.own import Own
from scmobench.experiment.config import build, compose, names


@pytest.fixture
def files(tiny_paired, tmp_path):
    """A folder `mine` with both modalities of the tiny set and its labels in the GEX file."""
    folder = tmp_path / "mine"
    folder.mkdir()
    gex = tiny_paired.mod1.copy()
    gex.obs = tiny_paired.obs[["batch", "cell_type"]].copy()
    gex.obs["quality"] = np.where(np.arange(150) % 3 == 0, "gated", "guessed")
    gex.layers["log"] = gex.X.copy()
    gex.layers["log"].data = np.log1p(gex.X.data)
    adt = tiny_paired.mod2.copy()
    adt.layers["log"] = adt.X.copy()
    gex.write_h5ad(folder / "gex.h5ad")
    adt.write_h5ad(folder / "adt.h5ad")
    return folder


def test_folder_is_found_by_path_by_variable_and_below_data(files, tiny_paired, monkeypatch):
    monkeypatch.delenv("SCMOBENCH_DATA", raising=False)
    assert Folder(name="mine", path=str(files)).load().mod1.shape == (150, 120)
    with pytest.raises(FileNotFoundError, match="set the environment variable SCMOBENCH_DATA"):
        Folder(name="mine").load()
    monkeypatch.setenv("SCMOBENCH_DATA", str(files.parent))
    paired = Folder(name="mine").load()
    assert (paired.mod2.X != tiny_paired.mod2.X).nnz == 0
    monkeypatch.delenv("SCMOBENCH_DATA")
    (files.parent / "data").mkdir()
    files.rename(files.parent / "data" / "mine")
    monkeypatch.chdir(files.parent)
    assert Folder(name="mine").load().hash == paired.hash


FORMS = {
    "text": lambda v: v.map({True: "TRUE", False: "FALSE"}),
    "categories": lambda v: v.astype("category"),
    "nullable": lambda v: v.astype("boolean"),
    "numbers": lambda v: v.astype(float),
}


@pytest.mark.parametrize("form", FORMS)
def test_drop_and_scored_choose_the_same_cells_in_every_form(form, files):
    gex = ad.read_h5ad(files / "gex.h5ad")
    wells, gated, said = np.arange(150) % 5, np.arange(150) % 3 == 0, np.arange(150) % 2 == 0
    gex.obs["well"] = pd.Series(wells, gex.obs_names, dtype=float).where(wells != 4)  # 4 is missing
    gex.obs["gated"] = FORMS[form](pd.Series(gated, gex.obs_names))
    gex.obs["is_scored"] = FORMS[form](pd.Series(said, gex.obs_names))
    gex.write_h5ad(files / "gex.h5ad")
    for value in (True, "true", 1):
        choice = {"drop": {"well": [1, "2", None]}, "scored": {"gated": value}}
        kept = Folder(name="mine", path=str(files), empty_features="drop", **choice).load()
        left = np.isin(wells, (0, 3))
        assert list(kept.mod1.obs_names) == list(gex.obs_names[left])
        assert kept.obs["is_scored"].tolist() == (gated & said)[left].tolist()


def test_drop_and_scored_choose_cells(files):
    choice = {"drop": {"cell_type": ["A1"]}, "scored": {"quality": "gated"}}
    kept = Folder(name="mine", path=str(files), empty_features="drop", **choice).load()
    assert "A1" not in set(kept.obs["cell_type"])
    assert 0 < kept.obs["is_scored"].sum() < len(kept.obs)
    both = {"scored": {"quality": "gated", "cell_type": "A2"}}
    found = Folder(name="mine", path=str(files), **both).load().obs
    told = ad.read_h5ad(files / "gex.h5ad").obs
    assert found["is_scored"].sum() == ((told["quality"] == "gated") & (told["cell_type"] == "A2")).sum() > 0
    for setting in ({"drop": {"tissue": ["x"]}}, {"scored": {"tissue": "x"}}, {"batch": "tissue"}):
        with pytest.raises(ValueError, match="no column 'tissue' in the cell annotation, it has"):
            Folder(name="mine", path=str(files), **setting).load()


def test_layer_becomes_x_and_x_the_counts(files, tiny_paired):
    normalization = {"GEX": "my_log1p", "ADT": "counts"}
    paired = Folder(name="mine", path=str(files), layer="log", normalization=normalization).load()
    assert dict(paired.normalization) == normalization
    assert np.allclose(paired.mod1.X.data, np.log1p(tiny_paired.mod1.X.data))
    assert (paired.mod1.layers["counts"] != tiny_paired.mod1.X).nnz == 0
    assert "counts" not in paired.mod2.layers
    with pytest.raises(ValueError, match="say what it holds"):
        Folder(name="mine", path=str(files), layer="log").load()
    gex = ad.read_h5ad(files / "gex.h5ad")
    gex.layers["counts"], gex.X = gex.X.copy(), gex.X > 0
    gex.write_h5ad(files / "gex.h5ad")
    again = Folder(name="mine", path=str(files), layer="log", normalization=normalization).load()
    assert again.hash == paired.hash, "the layer counts holds counts, X does not"
    with pytest.raises(ValueError, match="no layer 'raw'"):
        Folder(name="mine", path=str(files), layer="raw", normalization=normalization).load()


def test_wrong_file_is_recognised(files):
    (files / "adt.h5ad").rename(files / "atac.h5ad")
    with pytest.raises(ValueError, match=r"expected ATAC features, found feature_types \['ADT'\]"):
        Folder(name="mine", path=str(files), mod2="atac").load()


def test_missing_batch_column_names_those_there_are(files):
    for file in files.glob("*.h5ad"):
        cells = ad.read_h5ad(file)
        del cells.obs["batch"]
        cells.write_h5ad(file)
    with pytest.raises(ValueError, match=r"no column 'batch' .* \['cell_type', 'quality'\]"):
        Folder(name="mine", path=str(files)).load()


@pytest.mark.parametrize(
    ("name", "cells", "features", "train", "scored"),
    [
        ("pbmc10x_cite", 10849, (4000, 14), 6855, 5994),
        ("snareseq_mop", 9190, (1677, 24613), 7737, 9190),
        ("neurips_bmmc_cite_starter", 600, (1000, 134), 311, 600),
        ("neurips_bmmc_cite_starter_kit", 600, (1000, 134), 311, 600),
        ("neurips_bmmc_multiome_starter", 500, (1133, 595), 221, 500),
    ],
)
def test_real_data_has_its_published_size(name, cells, features, train, scored, data_dir, monkeypatch):
    monkeypatch.setenv("SCMOBENCH_DATA", str(data_dir))
    source = build(compose([f"dataset={name}"]).dataset)
    told = source.describe()
    assert (told["cells"], tuple(told["features"].values())) == (cells, features)
    assert (told["train"], told["scored"]) == (train, scored)
    assert told["source"] != "not stated"


def test_every_dataset_config_builds_and_has_the_name_of_its_file():
    for name in names("dataset"):
        assert build(compose([f"dataset={name}"]).dataset).name == name


def test_own_pair_with_columns_of_other_names(files, tiny_paired):
    gex = ad.read_h5ad(files / "gex.h5ad")
    gex.obs = gex.obs.rename(columns={"batch": "donor", "cell_type": "label"})
    gex.write_h5ad(files / "gex.h5ad")
    cells = {"gex": str(files / "gex.h5ad"), "mod2": str(files / "adt.h5ad")}
    paired = Own(name="mine", **cells, batch="donor", cell_type="label", test_batches=["batch3"]).load()
    assert paired.obs["cell_type"].astype(str).equals(tiny_paired.obs["cell_type"].astype(str))
    assert paired.obs["is_train"].equals(tiny_paired.obs["is_train"])
    one = Own(name="mine", **cells, cell_type="label").load()
    assert set(one.obs["batch"]) == {"all"}


def test_counts_are_taken_from_the_layer_counts_where_x_is_not_counts(files, tiny_paired):
    cells = {"gex": str(files / "gex.h5ad"), "mod2": str(files / "adt.h5ad")}
    expected = Own(name="mine", **cells).load().hash
    gex = ad.read_h5ad(files / "gex.h5ad")
    gex.layers["counts"], gex.X = gex.X.copy(), gex.layers["log"]
    gex.write_h5ad(files / "gex.h5ad")
    paired = Own(name="mine", **cells).load()
    assert (paired.hash, dict(paired.normalization)) == (expected, {"GEX": "counts", "ADT": "counts"})
    assert Folder(name="mine", path=str(files)).load().hash != expected  # it has batches
    assert (Folder(name="mine", path=str(files)).load().mod1.X != tiny_paired.mod1.X).nnz == 0


def test_own_layer_as_the_message_says(files, tiny_paired):
    for file in ("gex.h5ad", "adt.h5ad"):
        cells = ad.read_h5ad(files / file)
        cells.layers["umi"], cells.X = cells.X.copy(), cells.layers["log"]
        cells.write_h5ad(files / file)
    given = ["dataset=own", f"dataset.gex={files / 'gex.h5ad'}", f"dataset.mod2={files / 'adt.h5ad'}"]
    with pytest.raises(ValueError, match="whole numbers") as error:
        build(compose(given).dataset).load()
    layer, counts = re.search(r"(dataset.layer=\S+) '(\S+)'", str(error.value)).groups()
    layer = layer.replace("LAYER", "umi")
    paired = build(compose([*given, layer, counts]).dataset).load()
    assert (paired.mod1.X != tiny_paired.mod1.X).nnz == 0
    with pytest.raises(ValueError, match="say what it holds"):
        build(compose([*given, layer]).dataset).load()
    log = re.search(r"say what X is: '(\S+)'", str(error.value))[1]
    assert log == "dataset.normalization={GEX:my_log1p,ADT:counts}"


def own_with(files, column):
    """The settings of an `own` dataset whose GEX file has another annotation column `mine`."""
    gex = ad.read_h5ad(files / "gex.h5ad")
    gex.obs["mine"] = column
    gex.write_h5ad(files / "gex.h5ad")
    return {"gex": str(files / "gex.h5ad"), "mod2": str(files / "adt.h5ad")}


@pytest.mark.parametrize("kind", ["category", object])
def test_cells_without_a_batch_are_refused_and_are_no_batch(files, kind):
    donor = pd.Series(["d1"] * 60 + ["d2"] * 60 + [None] * 30).astype(kind)
    cells = own_with(files, donor.to_numpy() if kind is object else donor.array)
    with pytest.raises(ValueError, match="30 cells have no batch"):
        Own(name="mine", **cells, batch="mine").describe()


def test_cell_types_may_be_categories_of_any_kind(files):
    codes = np.arange(150) % 3 + 9
    types = (
        Own(name="mine", **own_with(files, pd.Categorical(codes)), cell_type="mine").load().obs["cell_type"]
    )
    assert list(types) == list(map(str, codes))
    assert list(types.cat.categories) == ["9", "10", "11"]
    holes = pd.Categorical.from_codes([-1, *([0] * 149)], ["T"])
    with pytest.raises(ValueError, match="1 cells have no cell_type"):
        Own(name="mine", **own_with(files, holes), cell_type="mine").load()


@pytest.mark.parametrize("names", [("rna", "prot"), ("RNA", "Protein")])
def test_own_h5mu(files, tiny_paired, names):
    gex, adt = ad.read_h5ad(files / "gex.h5ad"), ad.read_h5ad(files / "adt.h5ad")
    gex.obs = gex.obs[[]]
    both = mudata.MuData(dict(zip(names, (gex, adt), strict=True)))
    both.obs["donor"] = tiny_paired.obs["batch"].astype(str)
    both.write(files / "both.h5mu")
    paired = Own(name="mine", h5mu=str(files / "both.h5mu"), batch="donor").load()
    assert paired.pair == ("GEX", "ADT")
    assert (paired.mod1.X != tiny_paired.mod1.X).nnz == 0
    assert set(paired.obs["batch"]) == {"batch1", "batch2", "batch3"}


def test_own_10x_h5(tiny_paired, tmp_path):
    write_h5(tmp_path / "cells.h5", (tiny_paired.mod1, tiny_paired.mod2))
    tiny_paired.obs[["batch", "cell_type"]].to_csv(tmp_path / "labels.csv")
    labels = str(tmp_path / "labels.csv")
    paired = Own(name="mine", tenx=str(tmp_path / "cells.h5"), labels=labels, batch="batch").load()
    assert (paired.mod1.X != tiny_paired.mod1.X).nnz == 0
    assert (paired.mod2.X != tiny_paired.mod2.X).nnz == 0
    assert paired.obs["cell_type"].nunique() == 4
    table = pd.read_csv(labels, index_col=0)
    stranger = table.iloc[[0, 0]].set_axis(["another", "another"])
    pd.concat([table, stranger]).to_csv(labels)
    assert Own(name="mine", tenx=str(tmp_path / "cells.h5"), labels=labels, batch="batch").load().hash
    table.iloc[[0, *range(150)]].to_csv(labels)
    with pytest.raises(ValueError, match=f"cells twice in .*: {table.index[0]}; keep one row"):
        Own(name="mine", tenx=str(tmp_path / "cells.h5"), labels=labels, batch="batch").load()
    table.iloc[5:].to_csv(labels)
    with pytest.raises(ValueError, match=r"5 of 150 cells are not in .*; add their rows, or"):
        Own(name="mine", tenx=str(tmp_path / "cells.h5"), labels=labels, batch="batch").load()
    table.to_csv(labels, header=False)
    Path(labels).write_text("batch,cell_type\n" + Path(labels).read_text())  # as R's write.table does
    told = f"e.g. {table.index[0]}, .* first column must .* found {table['batch'].iloc[0]}, "
    with pytest.raises(ValueError, match=told):
        Own(name="mine", tenx=str(tmp_path / "cells.h5"), labels=labels, batch="batch").load()


def test_own_10x_folder(tiny_multiome, tmp_path, monkeypatch):
    texts = folder_texts((tiny_multiome.mod1, tiny_multiome.mod2))
    texts["features.tsv"] = texts["features.tsv"].replace("\t", '\t"', 1)  # a part of the name
    write_folder(tmp_path, texts)
    paired = Own(name="mine", tenx=str(tmp_path)).load()
    assert paired.pair == ("GEX", "ATAC")
    assert paired.mod1.var_names[0].startswith('"')
    assert (paired.mod2.X != tiny_multiome.mod2.X).nnz == 0
    with pytest.raises(ValueError, match="expected gene expression and one of ADT or ATAC"):
        Own(name="mine", tenx=str(tmp_path), kind="ADT").load()
    monkeypatch.chdir(tmp_path.parent)
    for place in (tmp_path.name, Path(tmp_path.name), f"./{tmp_path.name}", f"{tmp_path.name}/"):
        assert sb.load(place).hash == paired.hash
    Path("tiny_cite").mkdir()  # a folder does not stand for a data set of its name, unless it is said
    assert sb.load("tiny_cite").pair == ("GEX", "ADT")
    for place in ("./tiny_cite", Path("tiny_cite")):
        with pytest.raises(FileNotFoundError, match="in tiny_cite, found no matrix"):
            sb.load(place)
    with pytest.raises(ValueError, match=r"the name of a data set, a file .* found ./nothing"):
        sb.load("./nothing")
    (tmp_path / "barcodes.tsv.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected matrix\.mtx.* found no barcodes\.tsv"):
        Own(name="mine", tenx=str(tmp_path)).load()


def test_own_joint_h5ad(tiny_multiome, tmp_path):
    both = ad.concat([tiny_multiome.mod1, tiny_multiome.mod2], axis=1, merge="same")
    both.obs = tiny_multiome.obs[["batch", "cell_type"]].copy()
    both.write_h5ad(tmp_path / "both.h5ad")
    paired = Own(name="mine", h5ad=str(tmp_path / "both.h5ad"), batch="batch", cell_type=None).load()
    assert paired.pair == ("GEX", "ATAC")
    assert (paired.mod2.X != tiny_multiome.mod2.X).nnz == 0
    assert "cell_type" not in paired.obs
    del both.var["feature_types"]
    both.write_h5ad(tmp_path / "both.h5ad")
    with pytest.raises(ValueError, match="does not say which features are genes"):
        Own(name="mine", h5ad=str(tmp_path / "both.h5ad")).load()


def test_organism_of_own_cells_makes_other_data(files):
    """It decides which genes the cell cycle is scored by: runs without it are other runs."""
    given = dict(name="mine", gex=str(files / "gex.h5ad"), mod2=str(files / "adt.h5ad"), batch="batch")
    hashes = [Own(**given, organism=organism).load().hash for organism in ("", "human", "mouse", "")]
    assert len(set(hashes[:3])) == 3
    assert hashes[0] == hashes[3]
    with pytest.raises(ValueError, match=r"organism to be one of human, mouse, .* found 'cat': leave it out"):
        Own(**given, organism="cat").load()
    for known in ORGANISMS:
        assert len(scib.preprocessing.get_cell_cycle_genes(known))


@pytest.mark.parametrize("words", [(0, 1), ("False", "True"), (0.0, 1.0), ("test", "iid_holdout")])
@pytest.mark.parametrize("kind", ["plain", "category"])
def test_a_split_in_other_words_is_the_split(files, tiny_paired, words, kind):
    said = pd.Series([words[int(train)] for train in tiny_paired.obs["is_train"]])
    given = {
        "name": "mine",
        "gex": str(files / "gex.h5ad"),
        "mod2": str(files / "adt.h5ad"),
        "batch": "batch",
    }
    gex = ad.read_h5ad(files / "gex.h5ad")
    for column in ("is_train", "is_scored"):
        said = said.replace({"test": "0", "iid_holdout": "1"}) if column == "is_scored" else said
        gex.obs[column] = (said.astype(kind) if kind == "category" else said).array
    gex.write_h5ad(files / "gex.h5ad")
    obs = Own(**given).load().obs
    assert obs["is_train"].equals(tiny_paired.obs["is_train"])
    assert obs["is_scored"].dtype == bool
    gex.obs["is_train"] = ["learn", *["test"] * 149]
    gex.write_h5ad(files / "gex.h5ad")
    with pytest.raises(
        ValueError, match=r"expected is_train to be true or false for every cell, found.*learn"
    ):
        Own(**given).load()


def test_own_must_be_given_in_one_way(files):
    gex = str(files / "gex.h5ad")
    for given in ({}, {"gex": gex, "mod2": gex, "tenx": gex}):
        with pytest.raises(ValueError, match="give the cells in one way"):
            Own(name="mine", **given).load()
    for one, other in (("gex", "mod2"), ("mod2", "gex")):
        with pytest.raises(ValueError, match=f"found one: give dataset.{other}=FILE too"):
            Own(name="mine", **{one: gex}).load()
    for kind, what in (("tenx", "Cell Ranger"), ("h5mu", "an h5mu")):
        with pytest.raises(
            ValueError, match=f"expected {what}.* at .*gex.h5ad, found one that cannot be read"
        ):
            Own(name="mine", **{kind: gex}).load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5, found none; give its full path"):
        Own(name="mine", tenx="nowhere.h5").load()
    adt = ad.read_h5ad(files / "adt.h5ad")
    del adt.var["feature_types"]
    adt.write_h5ad(files / "adt.h5ad")
    with pytest.raises(ValueError, match="kind=ADT"):
        Own(name="mine", gex=gex, mod2=str(files / "adt.h5ad")).load()
    assert (
        Own(name="mine", gex=gex, mod2=str(files / "adt.h5ad"), kind="ADT", batch="batch").load().pair[1]
        == "ADT"
    )
