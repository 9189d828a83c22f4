"""Files of anybody's: hostile and damaged ones are refused in one line, sound ones are read as they are."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

import scmobench as sb
from damaged_files import (
    MUTATIONS,
    OF_TABLES,
    SAME,
    as_type,
    damage,
    flip_bytes,
    giant,
    leading,
    repeat_a_text,
    truncate,
)
from scmobench import cli
from scmobench.data import foreign, inspection
from scmobench.data.foreign import read_h5ad, read_scored
from scmobench.data.own import Own

CELLS, FEATURES = 40, 12


@pytest.fixture(autouse=True)
def in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it; the other tests inspect in forks."""
    monkeypatch.setattr(foreign, "subprocess", subprocess)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A solution and a prediction of it that is 0.5 too high wherever it is not 0."""
    truth = sp.random(CELLS, FEATURES, 0.4, "csr", np.float32, rng=np.random.default_rng(0))
    obs = pd.DataFrame({"kind": pd.Categorical(["a", "b"] * 20)}, index=[f"c{i}" for i in range(CELLS)])
    solution = ad.AnnData(truth, obs, pd.DataFrame(index=[f"g{i}" for i in range(FEATURES)]))
    solution.write_h5ad(tmp_path / "solution.h5ad")
    solution.X.data += 0.5
    solution.write_h5ad(tmp_path / "prediction.h5ad")
    return tmp_path / "solution.h5ad", tmp_path / "prediction.h5ad"


def score(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> float | str:
    """RMSE by the command line, or the line that it says instead."""
    line = ["score", "--json", "--task", "predict_modality", "--solution", str(files[0])]
    try:
        cli.main([*line, "--prediction", str(files[1])])
    except SystemExit as refused:
        return str(refused)
    return json.loads(capsys.readouterr().out)["rmse"]["value"]


def inspected(path: Path, tables: bool = False) -> str:
    """What the inspection says, in this process; empty where the file is sound."""
    wanted = {"path": str(path), "kind": "h5ad", "matrices": ["X"], "tables": tables}
    job = {"files": [wanted], "scored": False, "memory": 2**30}
    try:
        for plan in inspection.planned(job):
            inspection.read_through(plan)
    except (ValueError, OSError) as refused:
        return str(refused)
    return ""


def is_a_line(said: object, path: Path) -> bool:
    parts = ("scmobench: ", str(path))
    return isinstance(said, str) and all(p in said for p in parts) and "\n" not in said and len(said) < 800


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != "two values at one place"])
def test_the_inspection_finds_every_damage(name, files):
    assert not inspected(files[0], tables=True)
    damage(files[0], MUTATIONS[name])
    assert len(inspected(files[0], tables=True).splitlines()) == 1
    assert bool(inspected(files[0])) == (name not in OF_TABLES)


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        (MUTATIONS["pointer falls"], "X is damaged: expected indptr to start at 0, never to fall"),
        (MUTATIONS["two values at one place"], "found two for some: call sum_duplicates"),
        (MUTATIONS["complex values"], "expected real numbers .* found complex64: keep the real part, .real"),
        (MUTATIONS["giant chunk"], "expected 40 rows and .* columns .* found .* 3.0 GB are declared"),
        (MUTATIONS["giant X"], "X declares the shape .* obs and var have 40 cells and 12 features"),
    ],
)
def test_score_says_what_is_wrong(mutation, message, files, capsys):
    damage(files[1], mutation)
    said = score(files, capsys)
    assert is_a_line(said, files[1])
    assert re.search(message, said)


def test_the_same_numbers_written_otherwise_get_the_same_score(files, capsys):
    expected, X = score(files, capsys), ad.read_h5ad(files[1]).X
    changed = [files[1].with_name(f"{name}.h5ad") for name in SAME]
    for path, mutation in zip(changed, SAME.values(), strict=True):
        path.write_bytes(files[1].read_bytes())
        damage(path, mutation)
    for path, prediction in zip(changed, read_scored(files[0], *changed)[1:], strict=True):
        assert (prediction.X != X).nnz == 0, path
        assert prediction.X.dtype in (np.float32, np.float64)
    damage(files[1], partial(as_type, "data", "f2"))
    assert score(files, capsys) == pytest.approx(expected, abs=1e-3)


def test_columns_in_another_byte_order_have_rows(files):
    cells = ad.read_h5ad(files[0])
    cells.obs["depth"] = np.arange(CELLS).astype(">f8")
    cells.write_h5ad(files[0])
    assert read_h5ad(files[0])[0].obs[["depth"]].iloc[::2]["depth"].tolist() == list(range(0, CELLS, 2))


@pytest.mark.parametrize("way", ["external link", "soft link", "virtual", "external"])
def test_a_prediction_that_leads_to_the_solution_is_refused(way, files, capsys):
    ways = MUTATIONS | leading(str(files[0]))
    damage(files[1], ways[way])
    said = score(files, capsys)
    assert is_a_line(said, files[1])
    place = "a link to another place" if "link" in way else "values of /X/data are in another file"
    assert place in said
    damage(files[0], ways[way])  # also where nobody would read it
    with h5py.File(files[0], "r+") as file:
        file.move("X", "obsp/far")
    assert "/obsp/far" in inspected(files[0])


WRITERS = {
    ".csv": lambda cells, file: cells.to_df().to_csv(file),
    ".tsv": lambda cells, file: cells.to_df().to_csv(file, sep="\t"),
    ".npy": lambda cells, file: np.save(file, cells.X.toarray()),
    ".npz": lambda cells, file: sp.save_npz(file, cells.X),
    ".mtx": lambda cells, file: scipy.io.mmwrite(file, cells.X),
    ".zarr": lambda cells, file: cells.write_zarr(file),
}


@pytest.mark.filterwarnings("ignore:Writing zarr")
@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_of_another_kind_becomes_h5ad_as_the_message_says(suffix, tmp_path):
    problem = sb.split("tiny_cite")
    file = tmp_path / f"mine{suffix}"
    WRITERS[suffix](problem.solution.copy(), file)
    with pytest.raises(ValueError, match=f"found a {suffix} file; with one row a cell") as error:
        sb.score(file, problem, task="predict_modality")
    exec("import anndata, numpy, scipy\n" + str(error.value).partition("in Python: ")[2])
    assert sb.score(file.with_suffix(".h5ad"), problem, task="predict_modality")["rmse"] < 1e-5


def test_a_matrix_of_cell_ranger_is_read_by_its_folder(tmp_path):
    (tmp_path / "matrix.mtx.gz").write_bytes(gzip.compress(b"%%MatrixMarket"))
    with pytest.raises(ValueError, match=f"Cell Ranger's matrix; name its folder: dataset.tenx={tmp_path}$"):
        sb.score(tmp_path / "matrix.mtx.gz", sb.split("tiny_cite"), task="predict_modality")


def test_a_file_of_r_says_how_r_writes_another(files, tmp_path, capsys):
    (tmp_path / "mine.rds").write_bytes(gzip.compress(b"RDX3"))
    assert "found R's file; write another in R, e.g. zellkonverter::" in score(
        (files[0], tmp_path / "mine.rds"), capsys
    )


def test_what_is_no_file_is_refused_at_once(files, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.h5ad")
    with open(files[1], "rb") as file, gzip.open(tmp_path / "p.h5ad.gz", "wb") as zipped:
        shutil.copyfileobj(file, zipped)
    for name, content in (("empty", b""), ("table", b"cell,gene\n"), ("cut", files[1].read_bytes()[:999])):
        (tmp_path / f"{name}.h5ad").write_bytes(content)
    for path, message in (
        (tmp_path / "empty.h5ad", "cannot be read: it is empty; copy it again, or write it again"),
        (tmp_path / "table.h5ad", r"cannot be read: no HDF5, it begins with b'cell,gene\n';"),
        (tmp_path / "cut.h5ad", "cannot be read: it is cut off or damaged;"),
        (tmp_path / "pipe.h5ad", "found a pipe or a device"),
        (Path("/dev/zero"), "found a pipe or a device"),
        (tmp_path, "found a folder"),
        (tmp_path / "none.h5ad", "found none"),
        (tmp_path / "p.h5ad.gz", "gunzip"),
    ):
        for pair in ((files[0], path), (path, files[1])):
            assert message in score(pair, capsys)
        for given in ({"gex": path, "mod2": files[1]}, {"h5ad": path}, {"h5mu": path}, {"tenx": path}):
            if message != "found a folder" or "tenx" not in given:
                with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
                    Own(name="mine", **{key: str(value) for key, value in given.items()}).load()
    with pytest.raises(ValueError, match="found a pipe or a device"):
        Own(name="mine", h5ad=str(files[0]), labels="/dev/zero").load()
    subprocess.run(["gunzip", tmp_path / "p.h5ad.gz"], check=True)  # as the message says
    assert isinstance(score((files[0], tmp_path / "p.h5ad"), capsys), float)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            "kill -SEGV $$",
            "/X/data of mine.h5ad crashed the HDF5 library: the file is damaged; write it again",
        ),
        ("exec sleep 60", "/X/data of mine.h5ad was not read within 1 seconds"),
    ],
)
def test_a_reader_that_crashes_or_hangs_is_one_line(end, message, files, tmp_path, monkeypatch, capsys):
    told = json.dumps({"path": "mine.h5ad", "kind": "h5ad", "at": "/X/data"})
    reader = tmp_path / "python"
    reader.write_text(f"#!/bin/sh\necho '{told}'\n{end}\n")
    reader.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(reader))
    monkeypatch.setenv("SCMOBENCH_READ_SECONDS", "1")
    start = time.perf_counter()
    assert message in score(files, capsys)
    assert time.perf_counter() - start < 20


def test_reading_has_a_time_limit_that_a_user_may_set(files, monkeypatch, capsys):
    monkeypatch.setenv("SCMOBENCH_READ_SECONDS", "0.01")
    assert "(SCMOBENCH_READ_SECONDS sets another limit)" in score(files, capsys)
    for given in ("soon", "nan", "-1", "inf"):
        monkeypatch.setenv("SCMOBENCH_READ_SECONDS", given)
        told = f"expected seconds above 0 as SCMOBENCH_READ_SECONDS, found '{given}': take e.g. 600"
        assert told in score(files, capsys)
    monkeypatch.setenv("SCMOBENCH_READ_SECONDS", "300")
    assert isinstance(score(files, capsys), float)


def test_names_in_a_file_do_not_reach_the_terminal_as_they_are(files, capsys):
    with h5py.File(files[1], "r+") as file:
        file["uns/\x1b[2J\nred"] = h5py.SoftLink("/X")
        file["obs/" + "long" * 1000] = 1
    assert is_a_line(said := score(files, capsys), files[1])
    assert said.isprintable()


def test_a_large_solution_of_other_cells_is_not_read(files, capsys):
    rows, columns = 30_000, 2_000
    names = [pd.DataFrame(index=np.arange(k).astype(str)) for k in (rows, columns)]
    ad.AnnData(sp.csr_matrix((rows, columns), dtype="f4"), *names).write_h5ad(files[0])
    damage(files[0], partial(giant, "X", (rows, columns)))
    said = score(files, capsys)
    assert (
        "expected 30000 rows and at most 2000 columns to fit the solution, found a matrix of shape (40, 12)"
        in said
    )


def test_one_text_under_many_names_does_not_fill_the_memory(files):
    repeat_a_text(files[1], cells=4000, length=2**20)
    with pytest.raises(ValueError, match=r"cannot be read in /obs/_index: .*memory allocation failed"):
        read_scored(files[0], files[1])


def test_exchanged_bytes_give_a_score_or_a_line(files, capsys):
    sound = [path.read_bytes() for path in files]
    for seed in range(8):
        for path, content in zip(files, sound, strict=True):
            path.write_bytes(content)
        (truncate if seed == 0 else flip_bytes)(files[seed % 2], seed)
        said = score(files, capsys)
        assert isinstance(said, float) or (said.startswith("scmobench: ") and said.isprintable()), seed


def test_only_what_is_needed_is_read(files):
    cells = ad.read_h5ad(files[0])
    cells.obsp["distances"] = sp.eye(CELLS, format="csr")
    cells.obsm["X_pca"] = cells.obsm["X_emb"] = np.ones((CELLS, 3))
    cells.raw = cells
    cells.layers["counts"] = cells.layers["log"] = cells.X
    cells.uns |= {"organism": "human", "colours": ["red"]}
    cells.write_h5ad(files[1])
    (own,) = read_h5ad(files[1])
    assert (list(own.layers), list(own.uns), own.raw) == (["counts"], ["organism"], None)
    assert not own.obsm
    assert not own.obsp
    assert own.obs.equals(cells.obs)
    assert list(read_h5ad(files[1], layer="log")[0].layers) == ["counts", "log"]
    with pytest.raises(ValueError, match=r"no layer 'raw' in /, it has \['counts', 'log'\]"):
        read_h5ad(files[1], layer="raw")
    prediction = read_scored(files[0], files[1])[1]
    assert (list(prediction.obsm), list(prediction.obs)) == (["X_emb"], [])
    assert prediction.obs_names.equals(cells.obs_names)


def test_the_inspection_starts_without_heavy_libraries():
    heavy = "{'pandas', 'scipy', 'anndata', 'scanpy', 'torch', 'hydra'}"
    code = f"import sys, scmobench.data.inspection; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_inspected_once(files):
    start = time.perf_counter()
    first = read_h5ad(files[0])[0]
    middle = time.perf_counter()
    assert (read_h5ad(files[0])[0].X != first.X).nnz == 0
    assert time.perf_counter() - middle < middle - start
    damage(files[0], MUTATIONS["index too high"])
    with pytest.raises(ValueError, match="X is damaged"):
        read_h5ad(files[0])


def test_anndata_before_0_7_is_written_anew_as_the_message_says(files):
    table = np.array([(b"c%d" % i, i) for i in range(CELLS)], dtype=[("index", "S9"), ("depth", "i8")])
    with h5py.File(files[0], "r+") as file:
        del file["obs"]
        file["obs"] = table
    with pytest.raises(ValueError, match=r"before 0\.7"):
        read_h5ad(files[0])
    ad.read_h5ad(files[0]).write_h5ad(files[1])
    assert list(read_h5ad(files[1])[0].obs["depth"]) == list(range(CELLS))
