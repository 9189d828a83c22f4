"""Settings are chosen on training cells alone: the cells, the record, the search."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from command_line import OWN, here, own_model
from scmobench.data.split import training_cells_split
from scmobench.experiment import kept, records
from scmobench.experiment.config import build, compose
from scmobench.experiment.plan import Plan, model_settings
from scmobench.experiment.run import run
from scmobench.machine.arithmetic import threads
from scmobench.tasks.predicted_types import predicted_types
from scmobench.types import Paired


def paired(*overrides: str):
    return build(compose(["dataset=synthetic_cite", "dataset.n_cells=300", *overrides]).dataset).load()


def test_the_split_has_no_test_cell_and_holds_out_a_batch() -> None:
    whole = paired()
    inner = training_cells_split(whole)
    assert set(inner.obs.index) == set(whole.obs.index[whole.obs["is_train"]])
    assert list(inner.mod1.obs_names) == list(inner.obs.index) == list(inner.mod2.obs_names)
    train, held_out = (set(inner.obs["batch"][inner.obs["is_train"] == side]) for side in (True, False))
    assert train
    assert held_out
    assert not train & held_out
    assert inner.hash != whole.hash


def test_one_training_batch_is_split_at_random() -> None:
    inner = training_cells_split(paired("dataset.n_batches=2", "dataset.test_batches=[batch2]"))
    assert inner.obs["batch"].nunique() == 1
    assert 0.15 < 1 - inner.obs["is_train"].mean() < 0.25


def test_a_validation_run_stands_in_no_table(tmp_path: Path) -> None:
    given = ["dataset=tiny_cite", "model=svd_linear", f"runs={tmp_path}"]
    tested = run(Plan(compose(given), "svd_linear"))
    chosen = run(Plan(compose([*given, "score_on=validation"]), "svd_linear"))
    assert chosen["scores"]["rmse"]["value"] != tested["scores"]["rmse"]["value"]
    assert chosen["n_train"] + chosen["n_test"] == tested["n_train"]
    assert [r["data_hash"] for r in kept.read([tmp_path])] == [tested["data_hash"]]
    with pytest.raises(ValueError, match="score_on"):
        Plan(compose([*given, "score_on=tests"])).cells  # noqa: B018


def test_predicted_types_read_no_label_of_a_test_cell() -> None:
    whole = paired("dataset.n_cells=600")
    test = ~whole.obs["is_train"].to_numpy()
    inner = predicted_types(whole)
    assert (inner.obs["cell_type"][~test] == whole.obs["cell_type"][~test]).all()
    assert (inner.obs["cell_type"][test] == whole.obs["cell_type"][test]).mean() > 0.8
    assert set(inner.obs) == {"batch", "is_train", "is_scored", "cell_type"}
    assert inner.hash != whole.hash
    shuffled = whole.obs.copy()
    shuffled.loc[test, "cell_type"] = np.random.default_rng(0).permutation(shuffled["cell_type"][test])
    other = predicted_types(dataclasses.replace(whole, obs=shuffled))
    assert list(other.obs["cell_type"]) == list(inner.obs["cell_type"])


def test_predicted_types_without_counts_and_with_peaks(tiny_multiome: Paired) -> None:
    scaled = paired("dataset.n_cells=600")
    normal = scaled.mod1.copy()
    normal.X = (normal.X.toarray() - normal.X.toarray().mean(axis=0)).astype(np.float32)
    scaled = dataclasses.replace(scaled, mod1=normal, normalization={**scaled.normalization, "GEX": "scaled"})
    for given in (scaled, tiny_multiome):
        test = ~given.obs["is_train"].to_numpy()
        said, true = (obs["cell_type"][test].astype(str) for obs in (predicted_types(given).obs, given.obs))
        assert (said == true).mean() > 0.5


def test_predicted_types_need_types_and_an_embedding(tmp_path: Path) -> None:
    whole = paired()
    some = whole.obs.copy()
    some.iloc[np.flatnonzero(some["is_train"])[0], some.columns.get_loc("cell_type")] = np.nan
    for obs in (whole.obs.drop(columns="cell_type"), whole.obs.assign(cell_type="T cell"), some):
        with pytest.raises(ValueError, match="predicted_types needs a cell_type"):
            predicted_types(dataclasses.replace(whole, obs=obs))
    table = whole.obs.assign(is_scored=whole.obs["is_train"])  # the score would be that of a table
    with pytest.raises(ValueError, match="needs test cells that are scored"):
        predicted_types(dataclasses.replace(whole, obs=table))
    given = ["dataset=tiny_cite", f"runs={tmp_path}", "score_on=predicted_types"]
    with pytest.raises(ValueError, match="is of joint_embedding, found task=predict_modality"):
        Plan(compose([*given, "model=svd_linear"])).cells  # noqa: B018
    scored = run(Plan(compose([*given, "task=joint_embedding", "model=gex_only"]), "gex_only"))
    assert scored["scores"]["asw_batch"]["value"] is not None
    assert scored["scores"]["ti_cons_batch_mean"]["value"] is None
    assert kept.read([tmp_path]) == []


def test_a_search_has_a_folder_and_a_study_of_its_own_and_goes_on(tmp_path: Path) -> None:
    line = ("run", "sweep=tune_predict_modality", "dataset=tiny_cite", "smoke=true", "trainer.max_epochs=2")
    line += (f"runs={tmp_path / 'runs'}",)
    done = here(*line, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs\n")
    done = here(*line, "hydra.sweeper.n_trials=3", cwd=tmp_path)  # two of them are there
    assert done.stdout.startswith("1 run\n"), done.stdout
    (folder,) = (tmp_path / "runs" / "searches").iterdir()
    assert {path.name for path in folder.iterdir()} == {"study.db", "optimization_results.yaml"}
    found = OmegaConf.load(folder / "optimization_results.yaml")
    assert "model.predict_modality.dropout" in found.best_params
    runs = [r for path in tmp_path.rglob(records.RECORD) for r in kept.lines(path)]
    assert len(runs) == 3
    assert all(r["config"]["score_on"] == "validation" for r in runs)
    assert found.best_value == min(r["scores"]["rmse"]["value"] for r in runs)
    assert f"best trial {found.best_value:.4f}" in done.stdout
    command = shlex.split(done.stdout.partition("use its settings:")[2].splitlines()[0])
    assert command[:2] == ["scmobench", "run"]
    again = compose(command[2:])
    assert (
        model_settings(again, "GEX2ADT").items()
        >= {name.rpartition(".")[2]: value for name, value in found.best_params.items()}.items()
    )
    assert again.score_on == "test"


KNN = ("model=knn", "dataset=tiny_cite", "model.predict_modality.k=choice(5,20)")
SEARCH = ("run", "sweep=tune", *KNN, "hydra.sweeper.n_trials=1")


def test_a_finished_search_says_so_and_its_best_trial_again(tmp_path: Path) -> None:
    first = here(*SEARCH, cwd=tmp_path)
    told, *rest = here(*SEARCH, cwd=tmp_path).stdout.splitlines()
    assert told == "all trials are done (1): a larger hydra.sweeper.n_trials makes more"
    assert rest == first.stdout.splitlines()[2:4], "the best trial and its command"
    more = here(*SEARCH[:-1], "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert more.stdout.startswith("1 run\n")


def test_the_advised_command_finds_a_model_of_the_users_own(tmp_path: Path) -> None:
    body = "        self.n = data.train_mod2.n_vars\n        return self\n\n"
    body += "    def __init__(self, alpha=1): self.alpha = alpha\n\n"
    own_model(tmp_path, body)
    yaml = tmp_path / "mine" / "model" / "own.yaml"
    yaml.write_text(yaml.read_text().replace("my_method.Own", "my_method.Own, alpha: 1"))
    chosen = ("model=own", "model.predict_modality.alpha=choice(1,2)", "hydra.sweeper.n_trials=1")
    for _ in range(2):
        done = here("run", "sweep=tune", *OWN, *chosen, cwd=tmp_path)  # predict is missing
        assert done.returncode == 1
        told = done.stderr.splitlines()[-1]
        assert told.startswith("scmobench: expected a trial with a score, found that all failed: correct")
    code, chosen = tmp_path / "my_method.py", (*chosen[:2], "hydra.sweeper.n_trials=2")
    predict = "    def predict(self, data): return np.full((data.test_mod1.n_obs, self.n), self.alpha)\n"
    code.write_text(f"{code.read_text()}\n{predict}")
    done = here("run", "sweep=tune", *OWN, *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout.partition("use its settings:")[2].splitlines()[0])
    again = here(*command[1:], cwd=tmp_path)
    assert "GEX2ADT own[alpha=" in again.stdout, again.stderr


@pytest.mark.parametrize("damage", ["junk", "folder"])
def test_a_study_that_cannot_be_opened_stops_the_search(damage: str, tmp_path: Path) -> None:
    study = tmp_path / "runs" / "searches" / "knn-predict_modality-tiny_cite-from_gex" / "study.db"
    study.parent.mkdir(parents=True)
    study.mkdir() if damage == "folder" else study.write_text("junk")
    done = here(*SEARCH, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = done.stderr.splitlines()
    assert f"expected a study of Optuna at {study}, found " in told
    assert told.endswith("move the file away to begin again")
    study.rename(tmp_path / "away")
    assert here(*SEARCH, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("storage", ["nonsense", "no_such://server/db", "sqlite:////no/such/folder/study.db"])
def test_another_storage_that_cannot_be_opened_stops_the_search(storage: str, tmp_path: Path) -> None:
    done = here(*SEARCH, f"hydra.sweeper.storage='{storage}'", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = done.stderr.splitlines()
    assert told.startswith("scmobench: expected a study of Optuna at hydra.sweeper.storage, found ")
    assert told.endswith("or leave it out for a file of its own"), "as the other tests do"


@pytest.mark.parametrize("setting", ["n_trials=0", "n_trials=-3", "n_jobs=0"])
def test_a_search_of_no_trials_is_refused(setting: str, tmp_path: Path) -> None:
    done = here(*SEARCH[:-1], f"hydra.sweeper.{setting}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    name, _, number = setting.partition("=")
    told = f"scmobench: expected hydra.sweeper.{name} to be 1 or more, found {number}\n"
    assert done.stderr == told


FOREIGN = {
    "knn": "take sweep=tune 'model.predict_modality.NAME=choice(VALUE,VALUE)' with a NAME of n_comp",
    "babel_like": "take sweep=tune_babel_like",
    "mean": "leave model=mean out",
}


@pytest.mark.parametrize(("model", "advice"), FOREIGN.items())
def test_a_search_of_settings_that_the_model_has_not_is_refused(
    model: str, advice: str, tmp_path: Path
) -> None:
    line = ("dataset=tiny_cite", "smoke=true", "trainer.max_epochs=1", "hydra.sweeper.n_trials=1")
    done = here("run", "sweep=tune_predict_modality", f"model={model}", *line, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = done.stderr.splitlines()
    found = f"expected settings of {model} in sweep=tune_predict_modality, found model.predict_modality."
    assert f"{found}transductive" in told or f"{found}batch_features" in told
    assert f": {advice}" in told
    again = {
        "knn": ["model=knn", "sweep=tune", "model.predict_modality.k=choice(5,20)"],
        "babel_like": ["model=babel_like", "sweep=tune_babel_like"],
        "mean": ["sweep=tune_predict_modality"],
    }
    done = here("run", *again[model], *line, cwd=tmp_path)
    assert done.stdout.startswith("1 run\n"), done.stderr
    assert "use its settings" in done.stdout


@pytest.mark.parametrize("more", [(), ("model=knn", "dataset=tiny_cite")])
def test_a_search_that_has_nothing_to_choose_from_says_what_to_add(more: tuple, tmp_path: Path) -> None:
    done = here("run", "sweep=tune", *more, cwd=tmp_path)
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert told.startswith("scmobench: expected a search to say what it chooses from")
    advised = shlex.split(told.partition("e.g. ")[2])
    done = here("run", "sweep=tune", *advised, "dataset=tiny_cite", "hydra.sweeper.n_trials=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_validation_run_leaves_the_failure_of_the_test_run(tmp_path: Path) -> None:
    attempt = {"task": "predict_modality", "dataset": "d", "direction": "from_gex", "method": "m", "seed": 0}
    records.write_failure(tmp_path, attempt, ValueError("too few cells"))
    records.clear_failure(tmp_path, attempt | {"config": {"score_on": "validation"}})
    assert [r["status"] for r in kept.read([tmp_path])] == ["failed"]
    records.clear_failure(tmp_path, attempt | {"config": {}})
    assert kept.read([tmp_path]) == []


@pytest.mark.parametrize(("asked", "found"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("²", None)])
def test_threads_are_those_of_the_environment(
    asked: str, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == found
