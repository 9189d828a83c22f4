"""The command line, for real: runs, sweeps, resuming, scoring a stranger's file, messages."""

import errno
import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

import scmobench as sb
from command_line import OWN, begin, here, own_model, scmobench
from places import ROOT
from scmobench.cli import main
from scmobench.experiment import kept, records
from scmobench.experiment.config import build, compose
from scmobench.experiment.evaluate import metrics
from scmobench.experiment.plan import Plan, method_name
from scmobench.experiment.run import run, sizes
from scmobench.experiment.validate import validate


def experiment(runs: Path, *overrides: str) -> dict:
    cfg = compose(["dataset=tiny_cite", f"runs={runs}", *overrides])
    return run(Plan(cfg, method_name(cfg, list(overrides))))


def test_a_run_leaves_prediction_and_record(tmp_path: Path) -> None:
    record = experiment(tmp_path, "model=svd_linear", "seed=3")
    (stored,) = kept.read([tmp_path])
    assert stored == json.loads(json.dumps(record))
    kept_whole = "config_hash data_hash versions device seconds peak_memory_gb transductive"
    assert all(stored[key] is not None for key in kept_whole.split())
    (path,) = tmp_path.rglob("prediction.h5ad")
    prediction = anndata.read_h5ad(path)
    assert prediction.uns["method_id"] == "svd_linear"
    assert prediction.n_obs == stored["n_test"]
    assert 0 < stored["scores"]["rmse"]["value"] < 2
    low, high = stored["interval"]["rmse"]
    assert low < stored["scores"]["rmse"]["value"] < high


def test_a_record_names_the_command_that_makes_its_run_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = "sweep=predict_modality dataset=tiny_cite direction=from_gex model=knn seed=1 smoke=true"
    given = ("dataset=tiny_cite", "model=knn", "model.predict_modality.k=5", "ensemble=seeds")
    given += ("ensemble.members=[[],[]]",)
    assert here("run", *sweep.split(), cwd=tmp_path).returncode == 0
    assert here("run", *given, cwd=tmp_path).returncode == 0
    first = kept.read([tmp_path / "runs"])
    assert len(first) > 2
    for record in first:
        command, *arguments = shlex.split(record["command"])
        assert command == "scmobench"
        main([*arguments, "runs=again"])
    again = kept.read([tmp_path / "again"])
    same = ("method", "seed", "config_hash", "data_hash", "prediction_hash", "command")
    assert {tuple(r[k] for k in same) for r in again} == {tuple(r[k] for k in same) for r in first}


def test_a_direction_may_be_called_as_the_tables_print_it(tmp_path: Path) -> None:
    given = ("dataset=tiny_cite", "model=mean", f"runs={tmp_path}")
    first = experiment(tmp_path, "model=mean", "direction=to_gex")
    done = here("run", *given, "direction=GEX2ADT,ADT2GEX", "-m", cwd=tmp_path)
    assert "1 ran, 1 skipped" in done.stdout, done.stderr
    found = kept.read([tmp_path])
    assert {(r["direction"], r["subtask"]) for r in found} == {("from_gex", "GEX2ADT"), ("to_gex", "ADT2GEX")}
    assert first["config_hash"] in {record["config_hash"] for record in found}
    done = here("run", *given, "direction=GEX2ATAC", cwd=tmp_path)
    assert "to be one of from_gex, to_gex, GEX2ADT, ADT2GEX, found 'GEX2ATAC'" in done.stderr


def test_a_record_names_the_commit_of_a_checkout_only(tmp_path: Path, monkeypatch) -> None:
    records.commit.cache_clear()
    in_git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert records.commit().removesuffix("-dirty") == in_git.stdout.strip()
    records.commit.cache_clear()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(records, "__file__", str(tmp_path / "records.py"))
    assert records.commit() == "", "a package that is installed into somebody's project"
    records.commit.cache_clear()


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first = experiment(tmp_path, "model=mean")
    (path,) = tmp_path.rglob("prediction.h5ad")
    stamp = path.stat().st_mtime_ns
    again = experiment(tmp_path, "model=mean")
    assert again.pop("skipped")
    assert again == json.loads(json.dumps(first))
    assert path.stat().st_mtime_ns == stamp
    experiment(tmp_path, "model=mean", "force=true")
    assert path.stat().st_mtime_ns > stamp


def test_a_finished_run_may_lie_in_a_folder_that_can_only_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a folder that can only be read")

    given = ("run", "model=mean", "dataset=tiny_cite")
    assert here(*given, cwd=tmp_path).returncode == 0
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("scmobench.experiment.run.writable", refuse)
    assert "(finished before)" in here(*given, cwd=tmp_path).stdout
    assert sb.run("mean", "tiny_cite", runs=tmp_path / "runs").record["skipped"]
    for other in ("seed=1", "force=true"):
        done = here(*given, other, cwd=tmp_path)
        assert "a folder that can only be read" in done.stderr


def test_a_damaged_prediction_of_a_finished_run_is_named_with_what_heals_it(tmp_path: Path) -> None:
    given = ("run", "model=random", "dataset=tiny_cite")
    assert here(*given, "seed=1", cwd=tmp_path).returncode == 0
    (path,) = tmp_path.rglob("prediction.h5ad")
    with h5py.File(path) as file:
        chunk = file["X"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 255
    path.write_bytes(content)
    told = "; delete this file and repeat the command that made it"
    with pytest.raises(ValueError, match=rf"prediction.h5ad, found .* in /X: .*{told}"):
        sb.run("random", "tiny_cite", runs=tmp_path / "runs", seed=1)
    ensemble = (*given, "ensemble=seeds", "ensemble.members=[[],[]]")
    assert told in here(*ensemble, cwd=tmp_path).stderr
    path.unlink()
    assert here(*ensemble, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("task", "model", "total"),
    [
        ("predict_modality", "svd_linear", lambda cells: np.sqrt(cells.mean())),
        ("match_modality", "random", np.mean),
    ],
)
def test_a_run_keeps_the_score_of_each_test_cell(task, model, total, tmp_path: Path) -> None:
    record = experiment(tmp_path, f"task={task}", f"model={model}")
    (path,) = tmp_path.rglob("cells.npy")
    cells = np.load(path)
    assert (cells.dtype, cells.shape) == (np.float32, (record["n_test"],))
    score = next(iter(metrics(task)))
    assert total(cells.astype(float)) == pytest.approx(record["scores"][score]["value"], rel=1e-6)
    path.unlink()  # as in a run of an earlier version
    assert experiment(tmp_path, f"task={task}", f"model={model}")["skipped"]
    np.testing.assert_array_equal(np.load(path), cells)


def test_an_embedding_has_no_score_of_a_cell(tmp_path: Path) -> None:
    experiment(tmp_path, "task=joint_embedding", "model=random")
    experiment(tmp_path, "task=joint_embedding", "model=random")
    assert list(tmp_path.rglob("prediction.h5ad"))
    assert not list(tmp_path.rglob("cells.npy"))


def test_a_model_on_a_task_that_it_does_not_serve(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not serve match_modality; it serves predict_modality"):
        experiment(tmp_path, "model=svd_linear", "task=match_modality")
    for command in ("run", "validate"):  # before the cells are looked for
        done = here(command, "dataset=pbmc10x_cite", "dataset.path=no", "task=match_modality", cwd=tmp_path)
        assert "does not serve match_modality" in done.stderr, done.stderr
    with pytest.raises(ValueError, match="does not serve match_modality"):
        sb.run("svd_linear", tmp_path / "no.h5mu", task="match_modality")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep of four runs of which two fail."""
    folder = tmp_path_factory.mktemp("sweep")
    own_model(folder, "        raise ValueError('too few cells')\n\n    def predict(self, data): ...\n")
    return folder, here("run", "-m", *OWN, "model=mean,own", "seed=0,1", cwd=folder)


def test_a_failing_run_does_not_stop_a_sweep(sweep: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = sweep
    assert done.returncode != 0
    assert "4 runs" in done.stdout
    assert done.stdout.count("FAILED") == 2
    assert "2 ran, 2 failed" in done.stdout
    status = [record["status"] for record in kept.read([folder / "runs"])]
    assert sorted(status) == ["failed", "failed", "ok", "ok"]
    written = {p.name for p in folder.iterdir()} - {"mine", "my_method.py", "__pycache__"}
    assert written == {"runs"}, "nothing is written outside of runs"
    assert not list((folder / "runs").glob(".sweep*"))
    table = done.stdout.split("predict_modality tiny_cite GEX2ADT: rmse ↓")[1].split()
    assert table[table.index("mean", 5) :][:5] == ["mean", "0.5300", "±", "0.0000", "2"], done.stdout


def test_a_run_that_cannot_begin_leaves_no_record(tmp_path: Path) -> None:
    """A sweep goes on after it all the same."""
    given = ("dataset=tiny_cite", "task=match_modality", "model=random,svd_linear")
    done = here("run", "-m", *given, cwd=tmp_path)
    assert "1 ran, 1 failed" in done.stdout
    assert "scmobench: model 'svd_linear' does not serve match_modality" in done.stderr
    assert "HYDRA_FULL_ERROR" not in done.stderr
    assert [record["method"] for record in kept.read([tmp_path / "runs"])] == ["random"]
    assert not (tmp_path / "runs" / "failed").exists()


def test_the_tables_list_failures(sweep: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = sweep
    done = here("leaderboard", "--records", "runs", "--out", "tables", cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "tables" / "index.html").read_text()
    assert "too few cells" in page
    assert f"written: {Path('tables', 'predict_modality.csv')}" in done.stdout
    header = (folder / "tables" / "predict_modality.csv").read_text().splitlines()[0]
    assert header.startswith("task,dataset,subtask,method,metric,mean,sd,n,source")


def test_tables_of_other_records_leave_the_committed_ones_alone(tmp_path: Path) -> None:
    experiment(tmp_path / "runs", "model=mean")
    done = here("leaderboard", "--records", "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "leaderboard" / "index.html").is_file()
    assert not (tmp_path / "results").exists()


def test_a_prediction_outlives_scores_that_cannot_be_had(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("scmobench.experiment.run.evaluate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        experiment(tmp_path, "model=mean")
    assert list(tmp_path.rglob("prediction.h5ad"))


def test_cells_to_choose_settings_by_are_exported_as_asked(tmp_path: Path) -> None:
    order = ("--task", "predict_modality", "--out", str(tmp_path))
    main(["data", "export", "tiny_cite", *order, "score_on=validation"])
    training = compose(["dataset=tiny_cite"])
    names = build(training.dataset).load().obs.query("is_train").index
    inside = [anndata.read_h5ad(tmp_path / f"{part}.h5ad").obs_names for part in ("train_mod1", "solution")]
    assert sorted(inside[0].append(inside[1])) == sorted(names)
    other = rf"no other export in .* found that of tiny_cite GEX2ADT with {len(inside[1])} scored cells: name"
    for dataset in ("tiny_cite", "tiny_multiome"):
        with pytest.raises(SystemExit, match=other):
            main(["data", "export", dataset, *order])
    main(["data", "export", "tiny_cite", *order, "score_on=validation"])


def test_exported_files_are_all_that_a_prediction_from_outside_needs(tmp_path: Path, capsys) -> None:
    for name in ("predict_modality", "match_modality", "joint_embedding"):
        out = tmp_path / name
        order = ("--task", name, "--out", str(out), "--direction", "to_gex", "dataset.name=mine")
        main(["data", "export", "tiny_cite", *order])
        seen = {path.stem: anndata.read_h5ad(path) for path in out.glob("*mod*.h5ad")}
        if name == "predict_modality":
            mean = np.asarray(seen["train_mod2"].X.mean(axis=0))
            values, rows = np.repeat(mean, seen["test_mod1"].n_obs, axis=0), seen["test_mod1"].obs
            prediction = anndata.AnnData(values, rows, seen["train_mod2"].var)
        elif name == "match_modality":
            assert sorted(seen) == ["test_mod1", "test_mod2", "train_mod1", "train_mod2"]
            pairing = anndata.read_h5ad(out / "train_sol.h5ad").uns["pairing_ix"]
            batches = [seen[f"train_mod{i}"].obs["batch"].astype(str).to_numpy() for i in (1, 2)]
            assert (batches[0][pairing] == batches[1]).all()
            prediction = anndata.read_h5ad(out / "solution.h5ad")
        else:
            prediction = seen["mod1"][:, :5].copy()
        solution = anndata.read_h5ad(out / "solution.h5ad")
        assert solution.uns["dataset_id"] == "mine"
        build(compose([f"task={name}"]).task).check(prediction, solution)
        prediction.write_h5ad(out / "mine.h5ad")
    assert str(out / "solution.h5ad") in capsys.readouterr().out
    mine, solution = (str(tmp_path / "predict_modality" / f"{f}.h5ad") for f in ("mine", "solution"))
    main(["score", "--json", "--task", "predict_modality", "--prediction", mine, "--solution", solution])
    assert 0 < json.loads(capsys.readouterr().out)["rmse"]["value"] < 2


def test_labels_that_do_not_fit_a_full_disk_leave_no_half(tmp_path: Path, monkeypatch) -> None:
    def full(table: pd.DataFrame, path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    told = here("data", "export", "tiny_cite", "--task=predict_modality", "--out=cells", cwd=tmp_path).stderr
    assert (
        told == "scmobench: expected to write cells/labels.csv, found full: make room there, or write to "
        "another folder\n"
    )
    assert not list(tmp_path.rglob("labels*"))


def test_score_and_compare_print_tables_sentences_and_json(tmp_path: Path) -> None:
    source = build(compose(["dataset=tiny_cite"]).dataset).load()
    task = build(compose([]).task)
    problem = task.split(source)
    task.pack(problem.solution.X, problem.data, "truth").write_h5ad(tmp_path / "p.h5ad")
    problem.solution.write_h5ad(tmp_path / "s.h5ad")
    line = ("score", "--task", "predict_modality", "--prediction", "p.h5ad", "--solution", "s.h5ad")
    done = here(*line, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["rmse"]["value"] == pytest.approx(0, abs=1e-6)
    table = here(*line, cwd=tmp_path).stdout.splitlines()
    assert table[1].split() == ["rmse", "↓", "0.0000", "0.0000", "to", "0.0000"]
    assert table[-1].split()[:3] == ["overall_spearman", "↑", "1.0000"]
    zeros = task.pack(0 * problem.solution.X.toarray(), problem.data, "zeros")
    zeros.write_h5ad(tmp_path / "z.h5ad")
    pair = ("--task", "predict_modality", "--predictions", "p.h5ad", "z.h5ad", "--solution", "s.h5ad")
    found = json.loads(here("compare", "--json", *pair, cwd=tmp_path).stdout)
    assert found["metric"] == "rmse"
    assert found["low"] < found["difference"] == found["a"] - found["b"] < found["high"] < 0
    assert found["p_value"] < 1e-3
    told = here("compare", *pair, cwd=tmp_path).stdout
    gap = f"{-found['difference']:.4f}"
    between = f"95 % interval {-found['high']:.4f} to {-found['low']:.4f}"
    right = f"p.h5ad is better: rmse 0.0000 against {gap}, gap {gap} ({between}, p < 0.0001, 44 cells)\n"
    assert told == right

    same = here("compare", *pair[:4], "p.h5ad", *pair[5:], cwd=tmp_path).stdout
    assert same == "p.h5ad and p.h5ad are equally good: rmse 0.0000 on 44 cells\n"
    anndata.read_h5ad(tmp_path / "p.h5ad").T.write_h5ad(tmp_path / "p.h5ad")
    done = here(*line, cwd=tmp_path)
    assert done.returncode == 1
    assert "transposed" in done.stderr
    assert "Traceback" not in done.stderr


SAID = {
    "run dataset=pbmc10x_cite dataset.path=nowhere": "nowhere",
    "leaderboard --records nowhere": "expected a folder of records",
    "score --task joint_embedding --prediction no.h5ad --solution no.h5ad": "no.h5ad",
    "run dataset=tiny_cite seed=-1": "expected seed to be a whole number",
    "run dataset=tiny_cite seed=oops": "found 'oops'",
    "run dataset=tiny_cite runs=file/runs": "name another by runs=FOLDER",
    "run -m dataset=tiny_cite runs=file/runs": "name another by runs=FOLDER",
    "run dataset=tiny_cite +gpus=1": "found gpus: write trainer.accelerator=",
    "run dataset=tiny_cite +sed=5": "expected one of the options task dataset model",
    "run dataset=tiny_cite smoke=flase": "expected smoke to be true or false, found 'flase'",
    "leaderboard --records .": "expected records of runs (record.json, *.jsonl) below ., found none",
    "run dataset=tiny_cite model=mean model.name=12": "expected model.name to be a text that is not empty",
    "run dataset=tiny_cite model=scmognn model.match_modality.layers=2": "or add task=match",
    "run dataset=tiny_cite model=mean model.kind=metod": "found 'metod'",
    "run dataset=tiny_cite model=knn model.tuning=1.5": "expected model.tuning to be",
    "run dataset=tiny_cite model=knn model.predict_modality=true": "expected model.predict_modality to be",
    "run dataset=tiny_cite model.predict_modality._target_=scmobench.No": "imported, found scmobench.No",
    "data check tiny_cite --out x": "of `data export`",
    "validate model=knn ablation=no_pathway": "pathway",
    "validate ensemble=seeds ensemble.members=[[],['+model.predict_modality.no=1']]": "no setting 'no'",
    "validate sweep=predict_modality": "validate looks at one run",
    "validate --config-dir nosuch": "expected a folder of configurations at nosuch",
    "data check mini_cite dataset.foo=1": "foo",
    "score --task joint_embedding --prediction file --solution file": "at file",
}


@pytest.mark.parametrize(("line", "message"), SAID.items())
def test_messages_for_what_is_not_there(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no HDF5")
    done = here(*line.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}, "what is no run leaves nothing"


def test_yaml_of_the_users_own_that_would_not_be_read_is_refused(tmp_path: Path) -> None:
    for group in ("model", "ablation"):
        (tmp_path / "mi'ne" / group).mkdir(parents=True)
    (tmp_path / "mi'ne" / "ablation" / "narrow.yaml").write_text(
        "# @package _global_\nmodel: {predict_modality: {hidden: 8}}\n"
    )
    line = ("--config-dir", "mi'ne", "model=scmognn", "dataset=tiny_cite", "ablation=narrow")
    done = here("run", *line, cwd=tmp_path)
    assert "expected ablation/narrow.yaml to say `variant: narrow`" in done.stderr
    assert here("validate", *line, cwd=tmp_path).stderr == done.stderr
    (tmp_path / "mi'ne" / "ablation" / "narrow.yaml").write_text(
        "# @package _global_\nvariant: narrow\nmodel: {predict_modality: {hidden: 8}}\n"
    )
    done = here("run", *line, "ensemble=seeds", "ensemble.members=[[]]", "smoke=true", cwd=tmp_path)
    assert "GEX2ADT scmognn+narrow+ensemble_seeds[smoke] seed 0" in done.stdout, "members are composed alike"
    (tmp_path / "mi'ne" / "model" / "knn.yaml").write_text("name: mine\n")
    for command in ("run", "validate"):
        done = here(command, *line, cwd=tmp_path)
        assert done.returncode == 1
        assert "has the name of a shipped file" in done.stderr
        assert "Traceback" not in done.stderr


def test_options_and_overrides_come_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = here(
        "run", "dataset=tiny_cite", "--config-dir", "mine", "model=mean", "-m", "seed=0,1", cwd=tmp_path
    )
    assert "2 ran" in done.stdout, done.stderr
    with begin("run", "dataset=tiny_cite", "--info", "searchpath", "model=mean", cwd=tmp_path) as process:
        told = process.stdout.read()
    assert "Config search path" in told
    with begin("run", "--info", "model=mean", cwd=tmp_path) as process:
        told = process.stdout.read()
    assert process.returncode == 0, told


def test_a_failure_is_forgotten_once_the_run_is_there(tmp_path: Path) -> None:
    done = experiment(tmp_path, "model=mean")
    records.write_failure(tmp_path, done, ValueError("a typo"))
    told = {record["status"]: record["message"] for record in kept.read([tmp_path])}
    assert told == {"ok": "", "failed": "ValueError: a typo"}
    assert experiment(tmp_path, "model=mean")["skipped"]
    assert len(kept.read([tmp_path])) == 1


def test_sizes_of_an_embedding_are_of_the_scored_cells() -> None:
    paired = build(compose(["dataset=tiny_cite"]).dataset).load()
    train = paired.obs["is_train"]
    scored = np.arange(len(train)) % 3 == 0
    paired = replace(paired, obs=paired.obs.assign(is_scored=scored))
    found = sizes(build(compose(["task=joint_embedding"]).task).split(paired))
    assert found == {"n_train": train.sum(), "n_test": 50, "n_test_seen": (train & scored).sum()}
    other = sizes(build(compose([]).task).split(paired))
    assert other == {"n_train": train.sum(), "n_test": (~train).sum(), "n_test_seen": 0}


def test_help_comes_at_once(tmp_path: Path) -> None:
    before = os.times().children_user
    assert scmobench("--help", cwd=tmp_path).returncode == 0
    assert os.times().children_user - before < 0.8


def test_an_identical_prediction_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = experiment(tmp_path, "model=mean", "seed=0")
    monkeypatch.setattr("scmobench.experiment.run.evaluate", lambda *_: pytest.fail("scored again"))
    second = experiment(tmp_path, "model=mean", "seed=1")
    assert second["prediction_hash"] == first["prediction_hash"]
    assert second["scores"] == first["scores"]
    with pytest.raises(pytest.fail.Exception, match="scored again"):
        experiment(tmp_path, "model=mean", "seed=1", "force=true")
    monkeypatch.undo()
    one, two = (experiment(tmp_path, "model=random", f"seed={seed}") for seed in (0, 1))
    assert one["prediction_hash"] != two["prediction_hash"]
    assert one["scores"] != two["scores"]


def test_an_ablation_of_what_another_subtask_has_makes_no_row(tmp_path: Path) -> None:
    """The initial residual is on from GEX alone: without it, the other direction is the model itself."""
    given = ["model=scmognn", "dataset=tiny_cite", "ablation=no_initial_residual", f"runs={tmp_path}"]
    done = here("run", "-m", *given, "direction=from_gex,to_gex", "smoke=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no run: ablation=no_initial_residual changes nothing") == 1
    assert {r["subtask"] for r in kept.read([tmp_path])} == {"GEX2ADT"}


def test_an_ablation_of_something_else_makes_no_row(tmp_path: Path) -> None:
    """It would stand in the table as an ablation and be the model itself."""
    given = ["run", "-m", "model=knn", "dataset=tiny_cite", "ablation=none,label_free", f"runs={tmp_path}"]
    done = here(*given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no run: ablation=label_free changes nothing of predict_modality with knn" in done.stdout
    assert "Warning" not in done.stderr
    assert {r["method"] for r in kept.read([tmp_path])} == {"knn"}
    alone = here("run", *given[2:4], "ablation=label_free", f"runs={tmp_path}", cwd=tmp_path)
    assert (alone.returncode, len(alone.stderr.splitlines())) == (1, 1)
    with pytest.raises(ValueError, match="ablation=label_free changes nothing of predict_modality with knn"):
        validate(["model=knn", "dataset=tiny_cite", "ablation=label_free"])
    with pytest.raises(ValueError, match="ablation=label_free changes nothing of predict_modality with knn"):
        sb.run("knn", "tiny_cite", runs=tmp_path, overrides=["ablation=label_free"])
    assert validate(["model=scmognn", "dataset=tiny_cite", "ablation=no_pathway"]).startswith("ok")


@pytest.mark.parametrize("part", ["+ADT2GEX", "from_1000_cells"])
def test_a_value_typed_for_another_subtask_or_size_makes_no_row(part: str) -> None:
    given, setting = ["model=scmognn", "dataset=tiny_cite"], "model.predict_modality.batch_size"
    typed = f"{'+' * part.startswith('+')}{setting}.{part.lstrip('+')}=32"
    with pytest.raises(ValueError, match=rf"=32 changes nothing .*, or write {setting}=32$"):
        validate([*given, typed])
    for typed in (f"{setting}.default=32", f"{setting}.default=64", f"{setting}=32"):
        assert validate([*given, typed]).startswith("ok")


def test_a_plan_forgets_the_values_that_its_problem_copied(tiny_paired):
    plan = Plan.composed(["dataset=tiny_cite"])
    whole, sha = plan.cells.mod1.X, plan.cells.hash
    data = plan.problem.data
    assert plan.cells.mod1.X is None
    assert (plan.cells.hash, plan.cells.pair) == (sha, ("GEX", "ADT"))
    assert data.train_mod1.layers["counts"].sum() + data.test_mod1.layers["counts"].sum() == whole.sum()
    given = Plan(plan.cfg, paired=tiny_paired)  # these belong to the caller
    assert given.problem.data.train_mod1.n_obs == data.train_mod1.n_obs
    assert given.cells.mod1.X is tiny_paired.mod1.X is not None
