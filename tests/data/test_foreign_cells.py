"""Own cells of damaged files: pairs, MuData, Cell Ranger's h5 and folder, tables of labels."""

import gzip
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

from cellranger_files import folder_texts, write_folder, write_h5
from damaged_files import MUTATIONS, OF_TABLES, damage, leading, write_anew
from scmobench.data.cellranger import read_tenx_folder
from scmobench.data.foreign import read_scored
from scmobench.data.own import Own
from scmobench.types import Paired


@pytest.fixture
def gex(tiny_paired: Paired, tmp_path: Path) -> Path:
    """The tiny set as ``gex.h5ad`` and ``adt.h5ad``; its batches in the first."""
    cells = tiny_paired.mod1.copy()
    cells.obs = tiny_paired.obs[["batch"]].copy()
    cells.write_h5ad(tmp_path / "gex.h5ad")
    tiny_paired.mod2.write_h5ad(tmp_path / "adt.h5ad")
    return tmp_path / "gex.h5ad"


def own(gex: Path, **settings: str) -> Paired:
    files = {"gex": str(gex), "mod2": str(gex.with_name("adt.h5ad"))}
    return Own(name="mine", **files, batch="batch", **settings).load()


@pytest.mark.parametrize("name", ["index too high", "complex values", *OF_TABLES])
def test_a_damaged_file_of_a_pair_is_refused(name: str, gex: Path) -> None:
    damage(gex, MUTATIONS[name])
    with pytest.raises(ValueError, match=rf"^{gex}: "):
        own(gex)


def test_counts_beside_x_are_inspected_and_other_layers_are_not(gex: Path) -> None:
    cells = ad.read_h5ad(gex)
    cells.layers["counts"] = cells.layers["other"] = cells.X
    cells.write_h5ad(gex)
    with h5py.File(gex, "r+") as file:
        file["layers/other/indices"][3] = 10**6
    said = {"normalization": {"GEX": "my_log1p", "ADT": "counts"}}
    assert "counts" in own(gex, **said).mod1.layers
    with h5py.File(gex, "r+") as file:
        file["layers/counts/indices"][3] = 10**6
    with pytest.raises(ValueError, match="/layers/counts is damaged: expected indices of 0 to 119"):
        own(gex, **said)


def test_bool_integers_and_floats_of_any_width_are_counts(gex: Path) -> None:
    expected = own(gex).hash
    for dtype in (">i4", "f2"):
        with h5py.File(gex, "r+") as file:
            write_anew(file["X/data"], file["X/data"][()].astype(dtype))
        assert own(gex).hash == expected, dtype


def without_attributes(path: Path, *tables: str, index: str = "_index") -> Path:
    """The tables as R's HDF5 packages write them by hand, the names of their rows in the column ``index``."""
    with h5py.File(path, "r+") as file:
        for table in (file[name] for name in tables):
            for attribute in list(table.attrs):
                del table.attrs[attribute]
            table.move("_index", "names")  # a column must not move to its own place
            table.move("names", index)
    return path


@pytest.mark.parametrize("index", ["_index", "index"])
def test_cells_have_their_names_in_tables_without_attributes(index: str, gex: Path) -> None:
    adt, expected = gex.with_name("adt.h5ad"), own(gex).hash
    assert own(without_attributes(gex, "obs", "var", index=index)).hash == expected
    ad.read_h5ad(adt)[::-1].write_h5ad(adt)
    without_attributes(adt, "obs", "var", index=index)
    with pytest.raises(ValueError, match="both modalities have the same 150 cells in another order"):
        own(gex)
    solution, prediction = read_scored(gex, adt)
    assert list(solution.obs_names) == list(prediction.obs_names)[::-1]
    assert "0" not in solution.var_names


def test_a_mudata_without_attributes_is_the_same_cells(gex: Path, tmp_path: Path) -> None:
    rna, prot, path = ad.read_h5ad(gex), ad.read_h5ad(tmp_path / "adt.h5ad"), tmp_path / "own.h5mu"
    for cells in (prot, prot[::-1].copy()):
        mudata.MuData({"rna": rna, "prot": cells}).write(path)
        without_attributes(
            path, "obs", *(f"mod/{mod}/{table}" for mod in ("rna", "prot") for table in ("obs", "var"))
        )
        if cells is prot:
            assert Own(name="mine", h5mu=str(path), batch="batch").load().hash == own(gex).hash
    with pytest.raises(ValueError, match="both modalities have the same 150 cells in another order"):
        Own(name="mine", h5mu=str(path), batch="batch").load()


def test_attributes_may_be_lists_of_one_text_and_rows_must_have_names(gex: Path) -> None:
    expected = own(gex).hash
    with h5py.File(gex, "r+") as file:
        file["obs"].attrs["_index"] = np.array(["_index"], "S")
        file["X"].attrs["encoding-type"] = np.array(["csr_matrix"], "S")
    assert own(gex).hash == expected
    without_attributes(gex, "obs", index="barcode")
    with pytest.raises(
        ValueError, match="expected names of rows as /obs/_index, found none: write them there"
    ):
        own(gex)


@pytest.mark.parametrize("referred", [True, False])
@pytest.mark.parametrize("encoding", ["0.1.0", "0.2.0"])
def test_categories_of_old_files_are_words(encoding: str, referred: bool, gex: Path) -> None:
    expected = own(gex).hash

    def old(codes: np.ndarray) -> None:
        with h5py.File(gex, "r+") as file:
            obs = file["obs"]
            obs.attrs["encoding-version"] = encoding
            if "__categories" not in obs:
                obs["__categories/batch"] = obs["batch/categories"][()]
            del obs["batch"]
            obs["batch"] = codes
            if referred:
                obs["batch"].attrs["categories"] = obs["__categories/batch"].ref

    codes = ad.read_h5ad(gex).obs["batch"].cat.codes.to_numpy()
    old(codes)
    assert own(gex).hash == expected
    old(np.where(np.arange(150) < 2, -1, codes))
    with pytest.raises(ValueError, match=r"batch of 2 cells .* nan and batch1 of"):
        own(gex)
    old(codes + 1)
    with pytest.raises(ValueError, match="codes need to be between -1 and"):
        own(gex)


def test_a_damaged_h5mu_is_refused(gex: Path, tmp_path: Path) -> None:
    whole = {"rna": ad.read_h5ad(gex), "prot": ad.read_h5ad(tmp_path / "adt.h5ad")}
    whole["atac"] = whole["prot"].copy()
    path = tmp_path / "own.h5mu"
    mudata.MuData(whole).write(path)
    with h5py.File(path, "r+") as file:
        file["mod/atac/X/indptr"][5] = 10**6
    chosen = {"h5mu": str(path), "batch": "batch"}
    assert Own(name="mine", **chosen, kind="ADT").load().hash == own(gex).hash  # atac is not asked for
    with pytest.raises(ValueError, match="/mod/atac/X is damaged: expected indptr to start at 0"):
        Own(name="mine", **chosen).load()
    with h5py.File(path, "r+") as file:
        file["mod/prot/X/indices"][0] = 20
    with pytest.raises(ValueError, match="/mod/prot/X is damaged: expected indices of 0 to 19"):
        Own(name="mine", **chosen, kind="ADT").load()
    with h5py.File(path, "r+") as file:
        file["mod/far"] = h5py.ExternalLink(str(gex), "/")
    with pytest.raises(ValueError, match="/mod/far is a link to another place or file"):
        Own(name="mine", **chosen, kind="ADT").load()


def tenx(path: Path, paired: Paired) -> Own:
    """What Cell Ranger 3 writes of both modalities, the last gene of another name."""
    genes = paired.mod1.copy()
    genes.var_names = [*genes.var_names[:-1], "é"]
    write_h5(path, (genes, paired.mod2))
    return Own(name="mine", tenx=str(path))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("indices", 140, "/matrix is damaged: expected indices of 0 to 139, found 0 to 140"),
        ("indices", -1, "/matrix is damaged: expected indices of 0 to 139, found -1"),
        ("indptr", 10**9, "/matrix is damaged: expected indptr to start at 0, never to fall"),
        ("shape", 10**8, "expected one name for each cell and feature in /matrix/features/name"),
        ("features/name", b"\xff\xfe", "can't decode byte"),
    ],
)
def test_a_damaged_h5_of_cell_ranger_is_refused(
    place: str, value: object, message: str, tiny_paired: Paired, tmp_path: Path
) -> None:
    path = tmp_path / "cells.h5"
    source = tenx(path, tiny_paired)
    if place == "indices":
        assert (source.load().mod1.X != tiny_paired.mod1.X).nnz == 0
        assert source.load().mod1.var_names[-1] == "é"
    with h5py.File(path, "r+") as file:
        file[f"matrix/{place}"][0] = value
    with pytest.raises(ValueError, match=message):
        source.load()


def test_the_matrix_of_cell_ranger_leads_nowhere_else(tiny_paired: Paired, tmp_path: Path) -> None:
    source, other = tenx(tmp_path / "cells.h5", tiny_paired), tmp_path / "other.h5"
    other.write_bytes((tmp_path / "cells.h5").read_bytes())
    with h5py.File(tmp_path / "cells.h5", "r+") as file:
        del file["matrix/data"]
        file["matrix/data"] = h5py.ExternalLink(str(other), "/matrix/data")
    with pytest.raises(ValueError, match="/matrix/data is a link to another place or file"):
        source.load()


def tenx_folder(folder: Path, paired: Paired, changed: str, change: Callable[[list[str]], list[str]]) -> None:
    """Cell Ranger's folder with another text in one file."""
    texts = folder_texts((paired.mod1, paired.mod2))
    texts[changed] = "".join(f"{line}\n" for line in change(texts[changed].splitlines()))
    write_folder(folder, texts)


def of_line(number: int, text: str) -> Callable[[list[str]], list[str]]:
    """The text of a file with another line."""
    return lambda lines: [*lines[:number], text, *lines[number + 1 :]]


def without_first(lines: list[str]) -> list[str]:
    return lines[1:]


def one_more(lines: list[str]) -> list[str]:
    return [*lines, lines[0]]


ONE = "take all three files from one folder"
NAMES = [
    ("barcodes.tsv", without_first, f"149 lines with a name in barcodes.tsv.gz, and 150 .*{ONE}"),
    ("barcodes.tsv", one_more, "151 lines with a name in barcodes.tsv.gz, and 150 declared"),
    ("barcodes.tsv", of_line(0, ""), "149 lines with a name in barcodes.tsv.gz, and 150 declared"),
    ("features.tsv", without_first, f"139 lines with a name in features.tsv.gz, and 140 declared .*{ONE}"),
    ("features.tsv", one_more, "141 lines with a name in features.tsv.gz, and 140 declared"),
    ("features.tsv", of_line(0, "a"), "1 columns in its first line and 3 in line 2$"),
    ("features.tsv", of_line(2, "a\tb\tc\td"), "3 columns in its first line and 4 in line 3$"),
    ("features.tsv", lambda lines: [line[:2] for line in lines], "a features.tsv of one or two columns"),
    ("barcodes.tsv", lambda lines: [], "found one that cannot be read: it is empty$"),
]


@pytest.mark.parametrize(("name", "change", "message"), NAMES)
def test_names_that_do_not_fit_the_matrix_are_told_in_one_line(
    name: str, change: Callable, message: str, tiny_paired: Paired, tmp_path: Path
) -> None:
    tenx_folder(tmp_path, tiny_paired, name, change)
    with pytest.raises(ValueError, match=message) as error:
        Own(name="mine", tenx=str(tmp_path)).load()
    assert "\n" not in str(error.value)


def test_quotes_around_every_name_are_not_part_of_it(tiny_paired: Paired, tmp_path: Path) -> None:
    texts = folder_texts((tiny_paired.mod1, tiny_paired.mod2))
    write_folder(tmp_path, texts)
    plain = read_tenx_folder(tmp_path)
    for name in ("barcodes.tsv", "features.tsv"):  # as R's write.table does
        lines = [line.replace("\t", '"\t"') for line in texts[name].splitlines()]
        texts[name] = "".join(f'"{line}"\n' for line in lines)
    texts["features.tsv"] = texts["features.tsv"].replace("\n", "\tchr1\t1\n")  # and not around numbers
    write_folder(tmp_path, texts)
    quoted = read_tenx_folder(tmp_path)
    assert quoted.obs.equals(plain.obs)
    assert quoted.var.equals(plain.var)


@pytest.mark.parametrize("name", ["matrix.mtx", "barcodes.tsv", "features.tsv"])
def test_a_file_that_is_called_gz_and_is_not_is_read_under_its_right_name(
    name: str, tiny_paired: Paired, tmp_path: Path
) -> None:
    tenx_folder(tmp_path, tiny_paired, name, list)
    file = tmp_path / f"{name}.gz"
    file.write_bytes(gzip.decompress(file.read_bytes()))
    with pytest.raises(
        ValueError, match=f"expected {file} to be compressed by gzip.*or take .gz off its name$"
    ):
        read_tenx_folder(tmp_path)
    file.rename(tmp_path / name)
    assert read_tenx_folder(tmp_path).shape == (150, 140)


HEAD = "%%MatrixMarket matrix coordinate integer general"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_line(0, HEAD.replace("integer", "complex")), "complex values in matrix.mtx.gz; expected integer"),
        (of_line(0, HEAD.replace("coordinate", "array")), "the first line"),
        (of_line(0, "hello"), "the first line 'hello' in matrix.mtx.gz"),
        (lambda lines: ["hello", *lines[1:4], "1 1 0.5"], "the first line 'hello' in matrix.mtx.gz"),
        (of_line(2, "140 150 999999999999"), "999999999999 values in a matrix of 140 x 150 declared"),
        (of_line(2, "140 150"), r"b'140 150.n' in matrix.mtx.gz in place of numbers"),
        (of_line(5, "141 1 1"), "line 6 of matrix.mtx.gz without a row to 140, a column to 150 and a value"),
        (of_line(5, "1 0 1"), "line 6 of matrix.mtx.gz without a row to 140, a column to 150"),
        (
            of_line(5, "1 1 x"),
            "line 6 of matrix.mtx.gz without a row to 140, a column to 150 and a value: copy the file",
        ),
        (of_line(5, "1 1 0.5"), "fractions among integer values in matrix.mtx.gz; declare them real"),
        (of_line(5, "1 1 1e3"), "fractions among integer values in matrix.mtx.gz; declare them real"),
        (lambda lines: [*lines[:4], lines[3], *lines[5:]], "two values for one cell and feature"),
        (lambda lines: lines[:50], r"47 of the \d+ values that matrix.mtx.gz declares: copy the file again"),
        (lambda lines: [*lines, "1 1 1"], r"more than the \d+ values that matrix.mtx.gz declares"),
    ],
)
def test_a_damaged_matrix_of_text_is_refused(
    change, message: str, tiny_paired: Paired, tmp_path: Path
) -> None:
    tenx_folder(tmp_path, tiny_paired, "matrix.mtx", change)
    with pytest.raises(ValueError, match=f"Cell Ranger's matrix folder at {tmp_path}, found: .*{message}"):
        Own(name="mine", tenx=str(tmp_path)).load()


def test_a_damaged_table_of_labels_is_refused(gex: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv.gz"
    labels.write_bytes(gzip.compress(b"cell,cell_type\n" * 1000)[:40])
    with pytest.raises(ValueError, match="found a damaged file"):
        own(gex, labels=str(labels))
    damaged = bytearray(gzip.compress(b"cell,cell_type\n"))
    damaged[10] = 0xFF
    labels.write_bytes(damaged)
    with pytest.raises(ValueError, match="found a damaged file: Error -3"):
        own(gex, labels=str(labels))
    labels = tmp_path / "labels.csv"
    labels.write_text("cell,cell_type,cell_type\na,b,c\n")
    with pytest.raises(ValueError, match=r"columns twice in .*labels\.csv: cell_type; keep one"):
        own(gex, labels=str(labels))
    labels.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"expected a table in text at .*labels\.csv, found one that cannot"):
        own(gex, labels=str(labels))


def test_names_of_cells_in_a_table_of_labels_are_text(gex: Path, tmp_path: Path) -> None:
    names = ["001", "1", "1e3", "1000", *(f"{k:04d}" for k in range(4, 150))]
    for file in (gex, gex.with_name("adt.h5ad")):
        cells = ad.read_h5ad(file)
        cells.obs_names = names
        cells.write_h5ad(file)
    labels = tmp_path / "labels.csv"
    lines = [f"{name},type {name}" for name in reversed(names)]
    labels.write_text("\n".join(["cell,cell_type", *lines]))
    found = own(gex, labels=str(labels)).obs["cell_type"]
    assert found.tolist() == [f"type {name}" for name in names]


def test_a_file_of_another_kind_is_named_with_its_setting(gex: Path, tmp_path: Path) -> None:
    rna, prot = ad.read_h5ad(gex), ad.read_h5ad(gex.with_name("adt.h5ad"))
    files = {"h5mu": tmp_path / "both.h5mu", "h5ad": tmp_path / "both.h5ad", "tenx": tmp_path / "both.h5"}
    mudata.MuData({"rna": rna, "prot": prot}).write(files["h5mu"])
    ad.concat([rna, prot], axis="var", merge="same").write_h5ad(files["h5ad"])
    write_h5(files["tenx"], [rna, prot])
    for kind, file in files.items():
        for wrong in files.keys() - {kind}:
            with pytest.raises(ValueError, match=rf"cells of your own are given as dataset\.{kind}=FILE"):
                Own(name="mine", **{wrong: str(file)}).load()
        assert Own(name="mine", **{kind: str(file)}).load().hash


def test_a_table_of_labels_is_read_as_text(gex: Path, tmp_path: Path) -> None:
    names = ad.read_h5ad(gex).obs_names
    kinds = ["1.1", "1.10", "01", "1", "1e1", "10"]
    labels = pd.DataFrame({"cell_type": kinds * 25, "S_score": ["0.5", "NA", "1e-3"] * 50}, names)
    labels.to_csv(tmp_path / "labels.csv")
    obs = own(gex, labels=str(tmp_path / "labels.csv")).obs
    assert obs["cell_type"].tolist() == kinds * 25
    assert obs["S_score"].iloc[[0, 2]].tolist() == [0.5, 0.001]
    assert obs["S_score"].isna().sum() == 50
    labels["cell_type"] = ["1.0", "12.0", "1."] * 50  # as pandas writes whole numbers among missing ones
    labels.to_csv(tmp_path / "labels.csv")
    assert set(own(gex, labels=str(tmp_path / "labels.csv")).obs["cell_type"]) == {"1", "12"}
    labels.to_csv(tmp_path / "labels.csv", sep="\t")
    with pytest.raises(
        ValueError, match=r"at least two columns, separated by commas, in .*; found one: save it"
    ):
        own(gex, labels=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize("way", leading(""))
def test_own_cells_lead_nowhere_else(way: str, gex: Path, tmp_path: Path) -> None:
    damage(gex, leading(str(tmp_path / "adt.h5ad"))[way])
    with pytest.raises(ValueError, match=r"is a link to another place|are in another file"):
        own(gex)
