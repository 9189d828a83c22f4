"""Pictures of kept runs: what is made, what is left out, that bytes repeat, and the committed gallery."""

import io
import json
import shutil
from types import SimpleNamespace

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from command_line import here
from places import ROOT
from scmobench.experiment import kept
from scmobench.experiment.config import compose
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import run
from scmobench.figures import drawing, style
from scmobench.figures.answers import ComparedRuns
from scmobench.figures.gallery import IDENTITY, LIST

pytestmark = pytest.mark.usefixtures("plain_umap")
RUNS = (
    ("predict_modality", "tiny_cite", "svd_linear"),
    ("predict_modality", "tiny_cite", "knn"),
    ("match_modality", "tiny_cite", "linear_hungarian"),
    ("match_modality", "tiny_cite", "constant"),
    ("joint_embedding", "tiny_cite", "scmognn"),
    ("joint_embedding", "tiny_cite", "gex_only"),
    ("joint_embedding", "tiny_cite", "mod2_only"),
)
KINDS = {
    "predict_modality": ["features", "scatter"],
    "match_modality": ["cell_types"],
    "joint_embedding": ["umap", "umap", "training"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "runs"
    for task, dataset, model in RUNS:
        given = [f"task={task}", f"dataset={dataset}", f"model={model}", "smoke=true", f"runs={folder}"]
        run(Plan(compose(given), model))
    return folder


def listed(folder):
    return json.loads((folder / LIST).read_text())


def test_every_kind_of_picture_is_made_and_listed(runs, tmp_path):
    done = here("figures", "--runs", str(runs), "--out", "pictures", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    entries = listed(tmp_path / "pictures")
    for task, kinds in KINDS.items():
        assert [e["kind"] for e in entries if e["task"] == task] == kinds
    for entry in entries:
        with Image.open(tmp_path / "pictures" / entry["file"]) as picture:
            assert picture.size == (entry["width"], entry["height"])
            assert picture.format == "WEBP"
            assert not {"exif", "xmp", "icc_profile"} & set(picture.info)
        assert all(record[key] is not None for record in entry["records"] for key in IDENTITY)
        assert entry["alt"].endswith(".")
        assert any(letter.isdigit() for letter in entry["alt"])
    assert any("scmognn (L)" in entry["alt"] for entry in entries if entry["kind"] == "umap")
    methods = {e["kind"]: [r["method"] for r in e["records"]] for e in entries}
    assert methods["umap"] == ["scmognn", "gex_only", "mod2_only"]
    assert methods["cell_types"] == ["linear_hungarian", "constant"]
    assert sorted(methods["features"]) == ["knn", "svd_linear"]


def test_the_same_runs_give_the_same_bytes_and_old_pictures_go(runs, tmp_path):
    folder, only = tmp_path / "one", runs / "match_modality"
    here("figures", "--runs", str(only), str(runs / "predict_modality"), "--out", "one", cwd=tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    here("figures", "--runs", str(only), "--out", "one", cwd=tmp_path)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(after) == sorted([LIST, *(e["file"] for e in listed(folder))])
    assert len(after) == 2 < len(before)
    assert all(before[name] == after[name] for name in after if name != LIST)


@pytest.fixture
def predicted(runs, tmp_path):
    """Method -> prediction of copies of two runs, in ``runs`` of the test's own folder."""
    shutil.copytree(runs / "predict_modality", tmp_path / "runs")
    return {m: next(tmp_path.glob(f"runs/**/{m}/**/prediction.h5ad")) for m in ("knn", "svd_linear")}


def test_a_run_without_its_prediction_is_left_out_in_one_line(predicted, tmp_path):
    predicted["knn"].unlink()
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("knn on tiny_cite GEX2ADT seed 0 is left out: expected its prediction at")
    command = done.stderr.split("to make it again: scmobench ")[1].split()
    assert [r["method"] for r in listed(tmp_path / "pictures")[0]["records"]] == ["svd_linear"]
    again = here(*command, "smoke=true", cwd=tmp_path)  # the advice, with the setting of this test
    assert again.returncode == 0
    here("figures", "--out", "pictures", cwd=tmp_path)
    assert {r["method"] for r in listed(tmp_path / "pictures")[0]["records"]} >= {"svd_linear"}


def test_no_prediction_at_all_is_an_error_of_one_line(tmp_path):
    done = here("figures", "--runs", str(ROOT / "results" / "records"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("scmobench: expected runs with prediction.h5ad below")
    done = here("figures", "--runs", "nowhere", cwd=tmp_path)
    assert done.stderr.startswith("scmobench: expected a folder of records at nowhere, found none: name the")


def test_another_prediction_than_the_recorded_one_is_left_out(predicted, tmp_path):
    shutil.copy(predicted["knn"], predicted["svd_linear"])
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert "svd_linear on tiny_cite GEX2ADT seed 0 is left out: its prediction is not the one" in done.stderr
    assert [r["method"] for r in listed(tmp_path / "pictures")[0]["records"]] == ["knn"]


def test_a_hostile_prediction_is_refused_by_its_shape(predicted, tmp_path):
    with h5py.File(predicted["knn"], "r+") as file:
        del file["X"]
        file.create_dataset("X", (60_000, 60_000), "f4", chunks=(1000, 1000), compression="gzip")
        for name in ("obs", "var"):
            index = file[name].attrs["_index"]
            del file[name][index]
            file[name].create_dataset(index, data=np.array([b"x"] * 60_000, dtype="S1"))
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert done.returncode == 1
    assert "found a matrix of shape (60000, 60000)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_cells_of_other_data_are_left_out(runs, tmp_path):
    shutil.copytree(runs / "match_modality", tmp_path / "runs")
    for path in tmp_path.glob("runs/**/record.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"data_hash": "0" * 64}))
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert "its cells are not those of the data set now (runs left out for this: 2); to make" in done.stderr
    assert done.stderr.count("\n") == 1
    assert listed(tmp_path / "pictures") == []
    shutil.copytree(runs / "match_modality", tmp_path / "runs" / "of now")
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert done.stderr == "", "the same runs of the cells as they are stand for them"
    assert len(listed(tmp_path / "pictures")) == 1
    shutil.rmtree(tmp_path / "runs" / "of now")
    for path in tmp_path.glob("runs/**/record.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "own"}))
    done = here("figures", "--out", "pictures", cwd=tmp_path)
    assert done.stderr.startswith("own is left out: pictures show the data sets of `scmobench data list`")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 0


def test_scmognn_and_the_three_best_other_methods_are_shown():
    runs = {m: [{"method": m, "seed": 0}] for m in ("a", "b", "c", "d", "scmognn")}
    problem = ComparedRuns(SimpleNamespace(task=SimpleNamespace(name="predict_modality")), runs)
    assert [run["method"] for run in problem._shown()] == ["scmognn", "a", "b", "c"]


def test_methods_of_a_row_do_not_hide_each_other():
    same = pd.DataFrame({"partner": [0.5], "type": [0.5], "cells": [3]}, index=["T"])
    r = pd.Series([0.5, 0.1], ["g", "h"])
    with style.styled():
        success = drawing.success({"a": same, "b": same}, None)
        features = drawing.features({"a": r, "b": r}, ["g", "h"], 9, "genes")
    for axes in (*success.axes, features.axes[1]):
        heights = [float(line.get_ydata()[0]) for line in axes.lines[:2]]
        assert abs(heights[0] - heights[1]) == pytest.approx(drawing.APART)


def test_rare_groups_share_a_colour():
    groups = pd.Series([f"t{k:02}" for k in range(14) for _ in range(20 - k)])
    shades = drawing.colours(groups)
    assert len(shades) == 14
    rare = [name for name, shade in shades.items() if shade == style.OTHER]
    assert rare == [f"t{k:02}" for k in range(8, 14)]
    assert len({shade for shade in shades.values() if shade != style.OTHER}) == 8


def test_the_users_settings_of_matplotlib_change_nothing():
    def drawn():
        with style.styled():
            return style.webp(drawing.training({"0": pd.Series([2.0, 1.0])}, {"0": 1}, "loss"))

    first = drawn()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert drawn() == first
    assert Image.open(io.BytesIO(first)).mode == "RGBA"


def test_the_committed_gallery_is_complete_and_small():
    folder = ROOT / "results" / "figures"
    entries = listed(folder)
    files = [entry["file"] for entry in entries]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, LIST, "README.md"])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    for dataset in ("mini_cite", "synthetic_multiome"):
        for task, kinds in KINDS.items():
            here_ = {e["kind"] for e in entries if (e["dataset"], e["task"]) == (dataset, task)}
            assert here_ == {*kinds, "training"}
    place, own = ("task", "dataset", "subtask"), IDENTITY[:-1]
    records = kept.read([ROOT / "results" / "records"])
    known = {tuple(r.get(key) for key in (*place, *own)) for r in records}
    for entry in entries:
        assert len(entry["records"]) == len({(r["method"], r["seed"]) for r in entry["records"]})
        where = (entry["task"], entry["dataset"], entry["direction"])
        assert {(*where, *(r[key] for key in own)) for r in entry["records"]} <= known
