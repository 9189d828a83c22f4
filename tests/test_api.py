"""What `import scmobench` offers: examples that run, objects in memory, what is loaded when."""

import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from anndata import AnnData
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

import scmobench as sb
from scmobench import api
from scmobench.experiment import catalogue, result
from scmobench.experiment.config import compose
from scmobench.experiment.plan import Plan, method_name
from scmobench.experiment.run import run
from scmobench.types import TASKS, Paired


class MeanOfTraining:
    """A method that inherits from nothing."""

    def fit(self, data, seed):
        assert data.test_mod1 is None, "it does not say that it is transductive"
        assert data.labels is None, "it does not say that it is label-supervised"
        self.mean = data.train_mod2.X.toarray().mean(axis=0)

    def predict(self, data):
        return np.tile(self.mean, (data.test_mod1.n_obs, 1))


@pytest.mark.parametrize("module", [api, catalogue, result])
def test_examples_run(module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted or module is result


def test_every_public_function_has_an_example_and_is_listed() -> None:
    names = "load split run score leaderboard datasets models metrics"
    assert set(names.split()) == set(sb.__all__)
    assert set(sb.__all__) <= set(dir(sb))
    assert all(">>> " in getattr(sb, name).__doc__ for name in sb.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import time, sys; t = time.process_time(); import scmobench; print(time.process_time() - t)\n"
    code += "print([m for m in ('torch', 'pandas', 'anndata', 'hydra', 'scanpy') if m in sys.modules])"
    seconds, heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 0.3


def test_three_packages_are_public_functions_too() -> None:
    code = "import scmobench; from scmobench.metrics.nmi import nmi; import scmobench.leaderboard.write\n"
    code += "print(*scmobench.metrics().index[:1], *scmobench.models('match_modality').index[:1])\n"
    code += "print(callable(scmobench.leaderboard), scmobench.metrics.nmi.nmi is nmi)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rmse", "clue_like", "True", "True"]
    assert list(inspect.signature(sb.models).parameters) == ["task"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sb.nothing  # noqa: B018


def test_a_named_run_is_that_of_the_command_line(tmp_path: Path) -> None:
    mine = sb.run("knn", "tiny_cite", seed=3, runs=tmp_path)
    given = ["model=knn", "dataset=tiny_cite", "seed=3", f"runs={tmp_path}"]
    cfg = compose(given)
    theirs = run(Plan(cfg, method_name(cfg, given)))
    assert theirs["skipped"]
    assert theirs["finished"] == mine.record["finished"]
    assert theirs["prediction_hash"] == mine.record["prediction_hash"]
    assert mine.scores["rmse"] == mine.record["scores"]["rmse"]["value"]
    again = sb.run("knn", "tiny_cite", seed=3, runs=tmp_path, overrides=["model.predict_modality.k=3"])
    assert again.record["method"] == "knn[k=3]"
    assert list(sb.leaderboard(tmp_path).query("metric == 'rmse'").method) == ["knn", "knn[k=3]"]


def test_runs_in_threads_are_those_made_one_after_another(tmp_path: Path) -> None:
    """PyTorch's random numbers, Hydra's state and the standard output are of the whole process."""

    def made(runs: str, task: str, seed: int) -> str:
        smoke = {"overrides": ["smoke=true"], "runs": tmp_path / runs}
        return sb.run("scmognn", "tiny_cite", task=task, seed=seed, **smoke).record["prediction_hash"]

    output, jobs = sys.stdout, [(task, seed) for task in TASKS for seed in (0, 1)]
    with ThreadPoolExecutor(6) as threads:
        side_by_side = list(threads.map(lambda job: made("threads", *job), jobs))
    assert side_by_side == [made("serial", *job) for job in jobs]
    assert sys.stdout is output


def test_an_ensemble_runs_too(tmp_path: Path) -> None:
    found = sb.run("knn", "tiny_cite", runs=tmp_path, overrides=["ensemble=seeds"])
    assert found.record["kind"] == "ensemble"
    with pytest.raises(
        ValueError, match="found a file or cells in memory: use the command, scmobench run dataset=own"
    ):
        sb.run("knn", sb.load("tiny_cite"), runs=tmp_path, overrides=["ensemble=seeds"])


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("knn[k=5,smoke]", ""),
        ("scmognn+ensemble_seeds[smoke]", ""),
        ("bar+foo", "no model 'bar'"),
        ("knn+foo", "no ablation 'foo'; there are"),
        ("ensemble_foo", "no ensemble 'foo'; there are"),
    ],
)
def test_a_row_of_the_tables_runs_by_its_name(name: str, missing: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=missing) if missing else nullcontext():
        assert sb.run(name, "tiny_cite", runs=tmp_path).record["method"] == name


def test_cells_in_memory_run_as_their_file_does(tmp_path: Path, tiny_paired) -> None:
    mine = sb.run("svd_linear", tiny_paired, runs=tmp_path)
    assert mine.record["dataset"] == "tiny_cite"
    pd.testing.assert_series_equal(mine.scores, sb.run("svd_linear", "tiny_cite", runs=tmp_path / "b").scores)


def test_a_mudata_as_scanpy_leaves_it_runs(tmp_path: Path, tiny_paired) -> None:
    """Log-normalised X, counts in a layer, names of muon's tutorials."""
    parts = {"rna": tiny_paired.mod1.copy(), "prot": tiny_paired.mod2.copy()}
    for part in parts.values():
        part.obs = tiny_paired.obs[["batch", "cell_type"]].copy()
        part.layers["counts"] = part.X.copy()
        sc.pp.normalize_total(part)
        sc.pp.log1p(part)
    cells = sb.load(
        mudata.MuData(parts), batch="batch", test_batches=list(held_out(tiny_paired)), name="mine"
    )
    mine = sb.run("svd_linear", cells, runs=tmp_path)
    assert mine.record["dataset"] == "mine"
    known = sb.run("svd_linear", tiny_paired, runs=tmp_path)
    assert mine.scores["rmse"] == pytest.approx(known.scores["rmse"], rel=1e-6)
    two = sb.load(
        gex=parts["rna"], mod2=parts["prot"], batch="batch", test_batches=list(held_out(tiny_paired))
    )
    assert (two.mod1.X != tiny_paired.mod1.X).nnz == 0


@pytest.mark.parametrize("name", ["tiny_cite", "mini_cite", "own"])
def test_cells_that_were_changed_after_load_are_refused(name: str, tmp_path: Path, tiny_paired) -> None:
    def fresh() -> Paired:
        parts = {"gex": tiny_paired.mod1, "mod2": tiny_paired.mod2}
        return sb.load(**parts, organism="human") if name == "own" else sb.load(name)

    changes = {
        "values": lambda cells: sc.pp.log1p(cells.mod1),
        "genes": lambda cells: sc.pp.filter_genes(cells.mod1, min_cells=30),
        "split": lambda cells: cells.obs.__setitem__("is_train", ~cells.obs["is_train"]),
    }
    for change in changes.values():
        cells = fresh()
        change(cells)
        with pytest.raises(ValueError, match="as load gave them, found that they were changed since: change"):
            sb.run("mean", cells, runs=tmp_path)
    cells = fresh()
    cells.mod1.obsm["X_pca"] = np.ones((cells.mod1.n_obs, 2))
    cells.obs["leiden"] = cells.mod1.obs["leiden"] = "1"
    assert sb.load(cells).hash == cells.hash == sb.run("mean", cells, runs=tmp_path).record["data_hash"]


def test_files_are_loaded_by_their_names(tmp_path: Path, tiny_paired) -> None:
    parts = {"gex": tiny_paired.mod1.copy(), "mod2": tiny_paired.mod2.copy()}
    files = {name: tmp_path / f"{name}.h5ad" for name in parts}
    for name, part in parts.items():
        part.obs = tiny_paired.obs[["batch"]].copy()
        part.write_h5ad(files[name])
    cells = sb.load(**files, batch="batch", test_batches=list(held_out(tiny_paired)))
    assert cells.mod1.shape == tiny_paired.mod1.shape
    with pytest.raises(FileNotFoundError, match=r"absent\.h5mu"):
        sb.load(tmp_path / "absent.h5mu")


def test_a_file_runs_as_cells_in_memory_with_the_settings_of_its_data_set(
    tmp_path: Path, tiny_paired
) -> None:
    parts = {"rna": tiny_paired.mod1.copy(), "prot": tiny_paired.mod2.copy()}
    for part in parts.values():
        part.obs = tiny_paired.obs[["batch"]].copy()
    place = tmp_path / "mine's ${seed} \\.h5mu"
    mudata.MuData(parts).write_h5mu(place)
    split = {"batch": "batch", "test_batches": list(held_out(tiny_paired))}
    cells = sb.load(place, **split)
    given = [f"dataset.batch={split['batch']}", f"dataset.test_batches=[{','.join(split['test_batches'])}]"]
    known = sb.run("knn", cells, runs=tmp_path / "a").record
    found = sb.run("knn", place, runs=tmp_path / "b", overrides=given).record
    assert (found["data_hash"], found["scores"]) == (known["data_hash"], known["scores"])
    with pytest.raises(
        ValueError, match=r"settings of the cells in load\(data, \.\.\.\), found \['dataset.batch=batch'\]"
    ):
        sb.run("knn", cells, runs=tmp_path, overrides=given[:1])
    chosen = sb.run("knn", cells, runs=tmp_path, overrides=["score_on=validation"]).record
    assert chosen["n_train"] + chosen["n_test"] == known["n_train"]


@pytest.mark.parametrize("name", ["cells.h5ad.gz", "CELLS.H5MU", "cells.zarr", "folder/cells"])
def test_other_files_are_no_data_sets(name: str) -> None:
    with pytest.raises(ValueError, match=f"a file .h5ad, .h5mu, .h5 or Cell Ranger's folder, found {name}"):
        sb.load(name)


def test_what_is_scored_comes_as_it_is(tmp_path: Path) -> None:
    problem = sb.split("tiny_cite", "joint_embedding")
    truth = problem.solution.copy()
    truth.obs["cell_type"] = truth.obs["cell_type"].cat.codes.to_numpy().astype(">i4")
    truth.obs["S_score"] = truth.obs["S_score"].to_numpy().astype(">f8")
    answer = sb.run("gex_only", "tiny_cite", task="joint_embedding", runs=tmp_path).prediction
    known = sb.score(answer, problem, task="joint_embedding")
    pd.testing.assert_series_equal(sb.score(answer, truth, task="joint_embedding"), known)
    problem = sb.split("tiny_cite")
    problem.solution.write_h5ad(tmp_path / "truth.h5ad")
    backed = anndata.read_h5ad(tmp_path / "truth.h5ad", backed="r")
    assert sb.score(backed, backed, task="predict_modality")["rmse"] == 0


def held_out(paired) -> set[str]:
    return set(paired.obs.loc[~paired.obs["is_train"], "batch"].astype(str))


def test_portable_arithmetic_that_comes_too_late_is_refused_before_the_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arithmetic=portable"):
        sb.run("mean", "tiny_cite", runs=tmp_path, overrides=["arithmetic=portable"])
    assert not list(tmp_path.iterdir())


def test_an_object_with_fit_and_predict_runs(tmp_path: Path) -> None:
    mine = sb.run(MeanOfTraining(), "tiny_cite")
    control = sb.run("mean", "tiny_cite", runs=tmp_path)
    assert mine.scores["rmse"] == pytest.approx(control.scores["rmse"], rel=1e-5)
    assert mine.record["method"] == "MeanOfTraining"
    problem = sb.split("tiny_cite")
    again = sb.score(mine.prediction, problem, task="predict_modality")
    pd.testing.assert_series_equal(again, mine.scores)
    with pytest.raises(TypeError, match="an object with fit and predict, found 5"):
        sb.run(5, "tiny_cite")
    with pytest.raises(TypeError, match=r"found Ridge\(\) with fit\(X, y, .*: write a class that calls it"):
        sb.run(Ridge(), "tiny_cite")
    with pytest.raises(TypeError, match=r"give an object, MeanOfTraining\(...\)"):
        sb.run(MeanOfTraining, "tiny_cite")
    mine = MeanOfTraining()
    mine.transductive = "no"
    with pytest.raises(
        ValueError, match="expected transductive of the method to be True or False, found 'no'"
    ):
        sb.run(mine, "tiny_cite")


@pytest.mark.parametrize("task", TASKS)
def test_an_array_is_scored_as_its_file_is(task: str) -> None:
    problem = sb.split("tiny_cite", task)
    answer = sb.run("random", "tiny_cite", task=task).prediction
    matrix = answer.obsm["X_emb"] if task == "joint_embedding" else answer.X
    known = sb.score(answer, problem, task=task)
    pd.testing.assert_series_equal(sb.score(matrix, problem, task=task), known)
    with pytest.raises(ValueError, match=r"expected an answer of \d+ "):
        sb.score(matrix[:3], problem, task=task)
    with pytest.raises(TypeError, match="expected the Problem of split as the solution of an array"):
        sb.score(matrix, problem.solution, task=task)


@pytest.mark.parametrize("task", TASKS)
def test_a_value_that_is_no_number_is_refused_before_rows_are_scaled(task: str) -> None:
    problem = sb.split("tiny_cite", task)
    answer = sb.run("random", "tiny_cite", task=task).prediction
    matrix = csr_matrix(answer.obsm["X_emb"] if task == "joint_embedding" else answer.X).toarray()
    for value in (np.inf, np.nan):
        matrix[3, 1] = value
        for given in (matrix, csr_matrix(matrix)):
            with pytest.raises(
                ValueError, match=r"found 1 NaN or infinite ones, the first in row 3, column 1 "
            ):
                sb.score(given, problem, task=task)


def test_a_table_is_scored_by_its_names() -> None:
    problem = sb.split("tiny_cite")
    truth = problem.solution
    table = pd.DataFrame(truth.X.toarray(), truth.obs_names, truth.var_names)
    assert sb.score(table, problem, task="predict_modality")["rmse"] == 0
    for turned, told in (
        (table[::-1], r"rows \(cells\) are the right ones in another order"),
        (table.assign(more=1.0, again=2.0), r"columns \(features\) not the solution's, e.g. more, again$"),
        (table.iloc[1:], rf"rows \(cells\) missing, e.g. {table.index[0]}$"),
        (table.assign(RRM1="high"), "expected real numbers in the prediction, found object"),
    ):
        with pytest.raises(ValueError, match=told):
            sb.score(turned, problem, task="predict_modality")
    with pytest.raises(TypeError, match=r"found DataFrame of shape \(44, 20\)$"):
        sb.run(table, "tiny_cite")


def test_what_is_shown_in_a_notebook_fits_a_screen() -> None:
    cells = sb.load("tiny_cite")
    assert repr(cells) == "Paired tiny_cite: 150 cells with 120 and 20 features"
    assert repr(sb.split(cells)) == "Problem GEX2ADT of tiny_cite: solution of 44 x 20"
    shown = repr(sb.run(MeanOfTraining(), cells)).splitlines()
    assert shown[0] == "Result of predict_modality tiny_cite GEX2ADT MeanOfTraining seed 0"
    assert [line.split()[0] for line in shown[1:]] == ["metric", *sb.metrics("predict_modality").index]


def test_an_argument_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(TypeError, match="run: got an unexpected keyword argument 'k'; it takes model, data,"):
        sb.run("knn", "tiny_cite", k=5)


def test_an_embedding_comes_back_with_its_cells(tmp_path: Path) -> None:
    found = sb.run("guanlab_svd", "tiny_cite", task="joint_embedding", runs=tmp_path)
    assert found.prediction.obsm["X_emb"].shape[0] == found.prediction.n_obs == 150
    assert {"batch", "cell_type"} <= set(found.prediction.obs)
    assert found.scores.index[0] == "mean"
    assert found.reasons.keys() == {"cc_cons"} == set(found.scores.index[found.scores.isna()]) | {"cc_cons"}
    scored = sb.score(found.prediction, sb.split("tiny_cite", "joint_embedding"), task="joint_embedding")
    pd.testing.assert_series_equal(scored, found.scores)


def test_what_there_is_to_choose() -> None:
    assert "scmognn" in sb.models("match_modality").index
    assert "knn" not in sb.models("match_modality").index
    assert sb.metrics("joint_embedding").index[0] == "mean"
    assert {"mini_cite", "own"} <= set(sb.datasets().index)
    with pytest.raises(ValueError, match="expected a task of"):
        sb.models("prediction")


def running(**given: object) -> Callable[[Paired], object]:
    return lambda cells: sb.run("mean", cells, **given)


def scoring(prediction: object, task: str = "predict_modality") -> Callable[[Paired], object]:
    return lambda cells: sb.score(prediction, sb.split(cells), task)


def loading(annotate: Callable[[pd.DataFrame], pd.DataFrame], **given: str) -> Callable[[Paired], object]:
    return lambda c: sb.load(gex=AnnData(c.mod1.X, annotate(c.obs)), mod2=c.mod2, **given)


ONES, PAIRS = np.ones((44, 20)), pd.MultiIndex.from_product([["a"], range(44)])
WRONG = {
    "seed": (running(seed="a"), "run: expected seed to be a whole number, found 'a'"),
    "nan seed": (running(seed=np.nan), "run: expected seed to be a whole number, found nan"),
    "object's seed": (
        lambda c: sb.run(MeanOfTraining(), c, seed=-1),
        "expected seed to be a whole number, found",
    ),
    "runs": (running(runs=3), "run: expected runs to be text or Path, found 3"),
    "overrides": (running(overrides="smoke=true"), "expected overrides to be a list, each t"),
    "object's": (
        lambda c: sb.run(MeanOfTraining(), c, overrides=["smoke=true"]),
        "expected no overrides for an object",
    ),
    "model": (lambda c: sb.run("[", c), "no model '['; `scmobench models` lists them"),
    "seed in overrides": (
        running(overrides=["seed=3,4"]),
        "expected seed as an argument of run, found it in overrides: seed=3,4",
    ),
    "several": (
        running(overrides=["model.predict_modality.k=1,2"]),
        "expected one value for each override, found model.predict_modality.k=1,2: call run once for each",
    ),
    "cells": (
        running(overrides=["dataset.n_cells=200"]),
        "expected settings of the cells in load(data, ...), found ['dataset.n_cells=200'] in overrides",
    ),
    "sweep": (running(overrides=["sweep=predict_modality"]), "expected sweep as an arg"),
    "problem": (
        scoring(ONES, "match_modality"),
        "expected the solution of match_modality, found that of predict_modality",
    ),
    "data": (lambda c: sb.run("mean", "${x}"), "no dataset '${x}'; `scmobench data list` lists them"),
    "task": (lambda c: sb.split(c, 3), "split: expected task to be text, found 3"),
    "run task": (running(task="["), "expected a task of predict_modality, match_modality"),
    "direction": (
        lambda c: sb.split(c, direction=["x"]),
        "split: expected direction to be text, found ['x']",
    ),
    "odd direction": (running(direction="["), "expected direction to be one of from_gex, to_g"),
    "prediction": (
        lambda c: sb.score([1.0], c, "x"),
        "score: expected prediction to be AnnData or text or P",
    ),
    "tensor": (scoring(torch.ones(44, 20)), "found Tensor of shape (44, 20)"),
    "masked": (scoring(np.ma.array(ONES)), "found MaskedArray: convert it, e.g. by .filled(0)"),
    "names in pairs": (
        scoring(pd.DataFrame(ONES, PAIRS)),
        "44 of 44 names of the rows (cells) are not the solution's",
    ),
    "name": (
        lambda c: sb.load(gex=c.mod1, mod2=c.mod2, name="mini_cite"),
        "expected a name of its own for these cells, found 'mini_cite'",
    ),
    "lists": (
        loading(lambda obs: obs.assign(cell_type=[["T"]] * len(obs)), batch="batch"),
        "expected one number or text for each cell in cell_type, found unhashable type: 'list'",
    ),
    "column": (
        loading(lambda obs: pd.concat([obs, obs], axis=1), batch="batch"),
        "expected a column 'batch' once, found it twice in memory: gex: drop one",
    ),
    "solution": (
        lambda c: sb.score(c.mod2, 3, "x"),
        "expected solution to be AnnData or text or Path or Problem",
    ),
    "records": (lambda c: sb.leaderboard(3), "leaderboard: expected records to be text or Path, found 3"),
    "list": (lambda c: sb.leaderboard(["runs"]), "expected records to be text or Path, found ['runs']"),
    "long": (lambda c: sb.leaderboard("a" * 999), "expected a folder of records at aaa"),
    "models": (lambda c: sb.models(["x"]), "models: expected task to be text or None, found ['x']"),
    "metrics": (lambda c: sb.metrics(""), "expected a task of predict_modality, match_modality, joint_embed"),
    "loaded": (lambda c: sb.load(c, batch="x"), "expected an AnnData or a MuData, found Paired"),
    "file": (lambda c: sb.load("a" * 999 + "/x.h5mu"), "expected a file at aaa"),
    "gex": (
        lambda c: sb.load(gex=3, mod2="x"),
        "load: expected gex to be AnnData or text or Path or None, f",
    ),
}


@pytest.mark.parametrize(("call", "told"), WRONG.values(), ids=WRONG)
def test_an_argument_of_another_type_is_told_in_one_line(
    call, told: str, tiny_paired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=re.escape(told)) as error:
        call(tiny_paired)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


SETTINGS = [
    ("batch", ["x"], "expected batch to be text or null, found ['x']"),
    ("cell_type", 3, "expected cell_type to be text or null, found 3"),
    ("layer", {}, "expected layer to be text or null, found {}"),
    ("normalization", "x", "expected normalization to be a mapping to text or null, found 'x'"),
    ("modalities", "x", "expected modalities to be a mapping to text or None, found 'x'"),
    (
        "test_batches",
        "s4",
        "expected test_batches to be a list, each text or a whole number or null, found 's4': put it in brac",
    ),
    ("test_fraction", "x", "expected test_fraction to be a number, found 'x'"),
    ("test_fraction", 1.5, "expected test_fraction to be above 0 and below 1, found 1.5"),
    ("split_seed", -1, "expected split_seed to be from 0 to 4294967295, found -1"),
    ("split_seed", np.nan, "expected split_seed to be a whole number, found nan"),
    ("betch", "x", "no setting 'betch': did you mean batch?"),
]


@pytest.mark.parametrize(("name", "value", "told"), SETTINGS)
def test_a_setting_of_cells_is_told_in_one_line_whether_they_are_in_memory_or_in_a_file(
    name: str, value: object, told: str, tiny_paired
) -> None:
    pair = {"gex": tiny_paired.mod1, "mod2": tiny_paired.mod2}
    for cells in (pair, {"data": "absent.h5mu"}):
        if name == "modalities" and cells is not pair:
            told = "expected modalities beside a MuData"
            value = {"gex": "rna"}
        with pytest.raises((TypeError, ValueError), match=re.escape(told)) as error:
            sb.load(**cells, **{name: value})
        assert "\n" not in str(error.value)


def test_values_of_numpy_and_pandas_are_pythons_own(tiny_paired, tmp_path: Path) -> None:
    pair = {"gex": tiny_paired.mod1.copy(), "mod2": tiny_paired.mod2.copy()}
    for name, part in pair.items():
        part.obs = tiny_paired.obs[["batch"]].copy()
        part.write_h5ad(tmp_path / f"{name}.h5ad")
    batches = tiny_paired.obs["batch"][~tiny_paired.obs["is_train"]].unique()
    files = {name: tmp_path / f"{name}.h5ad" for name in pair}
    for cells in (pair, files):
        whole = sb.load(**cells, batch="batch", test_batches=batches, split_seed=np.int64(1))
        assert whole.obs["is_train"].tolist() == tiny_paired.obs["is_train"].tolist()
    one, other = (sb.load(**files, batch=None, split_seed=seed).obs["is_train"] for seed in (0, 1))
    assert not one.equals(other)
    assert sb.run("mean", "tiny_cite", seed=np.int64(1), runs=tmp_path).record["seed"] == 1
