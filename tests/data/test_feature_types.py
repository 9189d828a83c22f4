"""Feature types in the field's words; cells that two tables describe; every piece of advice followed."""

import bz2
import contextlib
import gzip
import lzma
import re
import subprocess

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scmobench as sb
from cellranger_files import folder_texts, write_folder
from scmobench.data.annotation import check_agreement
from scmobench.data.feature_types import WORDS, modality_of
from scmobench.data.in_memory import Memory
from scmobench.data.own import Own
from scmobench.experiment.config import build, compose

N, GENES, MOD2 = 60, 30, 10
CELLS = [f"CELL{i:03d}-1" for i in range(N)]


def modalities(gene_word: str | None, mod2_word: str | None) -> tuple[ad.AnnData, ad.AnnData]:
    """Counts of genes and of another modality, called so; the genes' file has the annotation."""
    rng = np.random.default_rng(0)
    found = []
    for n, letter, word in ((GENES, "G", gene_word), (MOD2, "P", mod2_word)):
        X = sp.csr_matrix(rng.poisson(3, (N, n)) + 1, dtype=np.float32)
        var = pd.DataFrame(index=[f"{letter}{i}" for i in range(n)])
        found.append(
            ad.AnnData(
                X, obs=pd.DataFrame(index=CELLS), var=var if word is None else var.assign(feature_types=word)
            )
        )
    found[0].obs["donor"] = [f"d{i * 3 // N}" for i in range(N)]
    found[0].obs["cell_type"] = [f"T{i % 3}" for i in range(N)]
    return tuple(found)


def pair(folder, gex: ad.AnnData, mod2: ad.AnnData, **more) -> Own:
    gex.write_h5ad(folder / "gex.h5ad")
    mod2.write_h5ad(folder / "mod2.h5ad")
    return Own(
        name="mine", gex=str(folder / "gex.h5ad"), mod2=str(folder / "mod2.h5ad"), batch="donor", **more
    )


def joint(folder, gex: ad.AnnData, mod2: ad.AnnData, **more) -> Own:
    both = ad.concat([gex, mod2], axis=1, merge="first")
    both.write_h5ad(folder / "both.h5ad")
    return Own(name="mine", h5ad=str(folder / "both.h5ad"), batch="donor", **more)


def multi(folder, mods: dict[str, ad.AnnData], **more) -> Own:
    with mudata.set_options(pull_on_update=False):
        mudata.MuData(mods).write(folder / "both.h5mu")
    return Own(name="mine", h5mu=str(folder / "both.h5mu"), batch="donor", **more)


def kind_of(source: Own) -> str:
    paired = source.load()
    assert (paired.mod1.n_vars, paired.mod2.n_vars) == (GENES, MOD2)
    return paired.pair[1]


@pytest.mark.parametrize(
    ("genes", "word", "kind"),
    [
        ("Gene Expression", "Antibody Capture", "ADT"),
        ("rna", "Protein Expression", "ADT"),
        ("Genes", "protein", "ADT"),
        ("GENE EXPRESSION", "CITE-seq", "ADT"),
        ("GEX", "Chromatin Accessibility", "ATAC"),
        ("mRNA", "peak", "ATAC"),
    ],
)
def test_the_words_of_the_field_are_known_in_every_kind_of_file(genes, word, kind, tmp_path) -> None:
    cells = modalities(genes, word)
    assert kind_of(pair(tmp_path, *cells)) == kind
    assert kind_of(joint(tmp_path, *cells)) == kind
    assert kind_of(multi(tmp_path, dict(zip((genes, word), cells, strict=True)))) == kind


def test_every_word_means_one_modality_whatever_its_letters() -> None:
    words = [word for modality in WORDS.values() for word in modality.split()]
    assert len(set(words)) == len(words)
    for modality, known in WORDS.items():
        assert {modality_of(word.upper()) for word in known.split()} == {modality}
    for other in ("Multiplexing Capture", "Custom", "CRISPR Guide Capture", "HTO", "nan", ""):
        assert modality_of(other) == ""


def test_features_beside_both_modalities_are_left_out(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    tags = adt.copy()
    tags.var_names = [f"tag{i}" for i in range(MOD2)]
    tags.var["feature_types"] = "Multiplexing Capture"
    assert kind_of(joint(tmp_path, gex, ad.concat([adt, tags], axis=1, merge="first"))) == "ADT"


@pytest.mark.parametrize(
    "build_source",
    [pair, joint, lambda folder, *c, **k: multi(folder, dict(zip(("rna", "Weird"), c, strict=True)), **k)],
)
def test_an_unknown_word_is_what_the_user_says(build_source, tmp_path) -> None:
    cells = modalities("Gene Expression", "Weird")
    with pytest.raises(ValueError, match="Weird") as error:
        build_source(tmp_path, *cells).load()
    assert "dataset.kind=ADT" in str(error.value)
    for kind, means in (("ADT", "ADT"), ("atac", "ATAC"), ("protein", "ADT")):
        assert kind_of(build_source(tmp_path, *cells, kind=kind)) == means
    with pytest.raises(ValueError, match=r"expected dataset.kind to be ADT or ATAC, found 'GEX'"):
        build_source(tmp_path, *cells, kind="GEX").load()


def test_a_file_of_several_types_says_what_to_do(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    both = ad.concat([gex, adt], axis=1, merge="first")
    with pytest.raises(ValueError, match=r"a file with both modalities is given alone: dataset.h5ad=FILE"):
        pair(tmp_path, gex, both, kind="ADT").load()
    assert kind_of(Own(name="mine", h5ad=str(tmp_path / "mod2.h5ad"), batch="donor")) == "ADT"
    mixed = adt.copy()
    mixed.var["feature_types"] = ["Isotype", *["Antibody Capture"] * (MOD2 - 1)]
    with pytest.raises(ValueError, match="keep these features alone") as error:
        pair(tmp_path, gex, mixed, kind="ADT").load()
    kept = eval(re.search(r"cells\[.*\]$", str(error.value))[0], {"cells": mixed})
    assert pair(tmp_path, gex, kept.copy(), kind="ADT").load().mod2.n_vars == MOD2 - 1
    with pytest.raises(ValueError, match="keep these features alone"):
        pair(tmp_path, gex, mixed).load()
    with pytest.raises(ValueError, match=r"given alone: dataset.h5ad=FILE"):
        pair(tmp_path, gex, both).load()
    mixed.var["feature_types"] = ["Isotype", *["Weird"] * (MOD2 - 1)]
    for kind in (None, "ADT"):
        with pytest.raises(ValueError, match=r"Isotype.*Weird"):
            pair(tmp_path, gex, mixed, kind=kind).load()
    mixed.var["feature_types"] = "ADT"  # as the message of kind=ADT says
    assert kind_of(pair(tmp_path, gex, mixed)) == "ADT"
    with pytest.raises(ValueError, match=r"expected GEX features.*is this the right file"):
        pair(tmp_path, adt, adt).load()
    with pytest.raises(ValueError, match=r"expected ADT or ATAC features in dataset.mod2, found gene"):
        pair(tmp_path, gex, gex).load()


def test_files_without_gene_expression_or_with_three_say_what_to_do(tmp_path) -> None:
    gex, adt = modalities("RNAs", "Antibody Capture")
    with pytest.raises(
        ValueError, match=r"found \['Antibody Capture', 'RNAs'\]; name the features in the file"
    ):
        joint(tmp_path, gex, adt).load()
    gex.var["feature_types"] = "GEX"
    assert kind_of(joint(tmp_path, gex, adt)) == "ADT"
    atac = adt.copy()
    atac.var_names = [f"chr1-{i}" for i in range(MOD2)]
    atac.var["feature_types"] = "Peaks"
    three = ad.concat([adt, atac], axis=1, merge="first")
    with pytest.raises(ValueError, match=r"choose by dataset.kind=ADT or dataset.kind=ATAC"):
        joint(tmp_path, gex, three).load()
    for kind in ("ADT", "ATAC"):
        assert kind_of(joint(tmp_path, gex, three, kind=kind)) == kind
    with pytest.raises(
        ValueError, match=r"one modality for GEX and one for ADT, found .*leave out the others"
    ):
        multi(tmp_path, {"rna": gex, "gex": gex.copy(), "prot": adt}).load()
    with pytest.raises(ValueError, match=r"found \['my_rna', 'prot'\]; name the modalities so: mudata"):
        multi(tmp_path, {"my_rna": gex, "prot": adt}).load()
    assert kind_of(multi(tmp_path, {"rna": gex, "prot": adt})) == "ADT"


def test_genes_alone_lack_the_other_modality() -> None:
    genes = ad.AnnData(np.ones((24, 3), np.float32), var=pd.DataFrame({"feature_types": ["GEX"] * 3}))
    with pytest.raises(ValueError, match='modality too, as two files: gex="FILE", mod2="FILE"'):
        sb.load(genes)


def test_a_protein_may_have_the_name_of_its_gene(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    adt.var_names = ["G3", "P", "P", *adt.var_names[3:]]
    with pytest.warns(UserWarning, match="not unique"):
        paired = joint(tmp_path, gex, adt).load()
    assert list(paired.mod2.var_names[:3]) == ["G3", "P", "P-1"]


def test_a_10x_folder_with_two_columns_says_that_it_lacks_the_types(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    texts = folder_texts((gex, adt))
    two = re.sub(r"\t[^\t]*$", "", texts["features.tsv"], flags=re.MULTILINE)
    write_folder(tmp_path, texts | {"features.tsv": two})
    with pytest.raises(ValueError, match=r"features.tsv of one or two columns.*give two h5ad files"):
        Own(name="mine", tenx=str(tmp_path)).load()
    write_folder(tmp_path, texts)
    assert kind_of(Own(name="mine", tenx=str(tmp_path))) == "ADT"


def test_annotation_of_the_second_table_alone_is_found(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    right = pair(tmp_path, gex, adt).load().hash
    adt.obs, gex.obs = gex.obs[["donor", "cell_type"]].copy(), gex.obs[[]].copy()
    assert pair(tmp_path, gex, adt).load().hash == right
    assert multi(tmp_path, {"rna": gex, "prot": adt}).load().hash == right
    assert Memory(gex=gex, mod2=adt, batch="donor", empty_features="error").load().hash == right


@pytest.mark.parametrize("where", ["mod2", "all"])
def test_annotation_that_two_tables_say_differently_is_refused(where, tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    mods = {"rna": gex, "prot": adt}

    def source(**more) -> Own:
        with mudata.set_options(pull_on_update=False):
            both = mudata.MuData(mods)
            table = adt.obs if where == "mod2" else both.obs
            table["cell_type"] = types
            table["note"] = "another in each"
            both.write(tmp_path / "both.h5mu")
        return Own(name="mine", h5mu=str(tmp_path / "both.h5mu"), batch="donor", **more)

    gex.obs["note"] = "of the genes"  # what nobody asks for may differ
    types = pd.Categorical(gex.obs["cell_type"])
    assert source().load().obs["cell_type"].nunique() == 3
    types = ["new", *gex.obs["cell_type"][1:]]
    second = {"mod2": r"mod\['prot'\].obs", "all": "obs of the whole MuData"}[where]
    with pytest.raises(
        ValueError,
        match=rf"cell_type of 1 cells is .* mod\['rna'\].obs and {second}, e.g. T0 and new of CELL000-1",
    ):
        source().load()
    assert source(cell_type=None).load().hash
    gex.obs[["cell_type"]].to_csv(tmp_path / "types.csv")
    assert source(labels=str(tmp_path / "types.csv")).load().obs["cell_type"].iloc[0] == "T0"
    del gex.obs["cell_type"]
    assert "cell_type" not in gex.obs
    loaded = source().load()
    assert where == "mod2" or loaded.obs["cell_type"].iloc[0] == "new"


def test_two_h5ad_files_must_agree_on_their_cells(tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    adt.obs["donor"] = gex.obs["donor"]
    assert pair(tmp_path, gex, adt).load().hash
    adt.obs["donor"] = ["d9", *gex.obs["donor"][1:]]
    with pytest.raises(ValueError, match="donor of 1 cells is not the same"):
        pair(tmp_path, gex, adt).load()
    del adt.obs["donor"]
    assert pair(tmp_path, gex, adt).load().hash


@pytest.mark.parametrize(
    ("label", "one", "other", "same"),
    [
        ("donor", [1.0, 2.0, np.nan], ["1", "2", "nan"], True),
        ("donor", [1, 2, 3], ["1", "2", "4"], False),
        ("donor", [1, 2, -(2**31)], [1, 2, np.nan], True),
        ("cell_type", ["B", "T", "NA"], ["B", "T", None], True),
        ("S_score", np.float32([0.3, 0.5, 0.7]), ["0.3", "0.5", "0.7"], True),
        ("S_score", [0.3, 0.5, np.nan], ["0.3", "0.6", ""], False),
        ("is_train", [True, False, True], ["true", "0", "1.0"], True),
    ],
)
def test_the_same_label_in_another_form_is_the_same(label, one, other, same) -> None:
    tables = {where: pd.DataFrame({label: list(column)}) for where, column in (("a", one), ("b", other))}
    tables["a"][label] = one
    with contextlib.nullcontext() if same else pytest.raises(ValueError, match="of 1 cells is not the same"):
        check_agreement("mine", tables, [label])


@pytest.mark.parametrize("which", ["both", "prot"])
def test_a_barcode_that_is_there_twice_is_named(which, tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    for cells in (gex, adt) if which == "both" else (adt,):
        cells.obs_names = [CELLS[1], *CELLS[1:]]
    with pytest.raises(ValueError, match=f"every cell name must be there once, found {CELLS[1]} twice"):
        pair(tmp_path, gex, adt).load()
    with pytest.raises(ValueError, match=f"every cell name must be there once, found {CELLS[1]} twice"):
        multi(tmp_path, {"rna": gex, "prot": adt}).load()
    if which == "both":
        for cells in (gex, adt):
            cells.obs_names_make_unique()
        assert kind_of(multi(tmp_path, {"rna": gex, "prot": adt})) == "ADT"


@pytest.mark.parametrize("name", ["one file.h5ad.gz", "one.h5ad", "one.h5ad.bz2", "one.xz"])
def test_a_zipped_file_is_unpacked_as_the_message_says(name, tmp_path) -> None:
    gex, adt = modalities("Gene Expression", "Antibody Capture")
    joint(tmp_path, gex, adt)
    zipped = tmp_path / name
    pack = {".bz2": bz2, ".xz": lzma}.get(zipped.suffix, gzip)
    zipped.write_bytes(pack.compress((tmp_path / "both.h5ad").read_bytes()))
    given = ["dataset=own", "dataset.batch=donor", f"dataset.h5ad={zipped}"]
    with pytest.raises(ValueError, match="zipped") as error:
        build(compose(given).dataset).load()
    command, unpacked = re.search(r"unpack it: (.* > (\S+|'.*'))$", str(error.value)).groups()
    subprocess.run(command, shell=True, check=True)
    given[-1] = f"dataset.h5ad={unpacked.strip(chr(39))}"
    assert kind_of(build(compose(given).dataset)) == "ADT"
