"""Slips of the keyboard: what was meant is said in one line, and nothing is left behind."""

import re
import shlex
from pathlib import Path

import pytest

import scmobench as sb
from command_line import OWN, here, own_model
from scmobench.experiment.config import compose

MEANT = {
    "model=knnn": "no model 'knnn': did you mean model=knn? `scmobench models` lists them",
    "modle=knn": "no setting 'modle': did you mean model=knn?",
    "dataset=mini_cit": "no dataset 'mini_cit': did you mean dataset=mini_cite? `scmobench data list` lists",
    "task=predict_modalty": "no task 'predict_modalty': did you mean task=predict_modality?",
    "trainer.max_epoch=3": "no setting 'trainer.max_epoch': did you mean trainer.max_epochs=3?",
    "model.n_components=5": "did you mean model.predict_modality.n_components=5?",
    "task=match": "no task 'match': did you mean task=match_modality?",
    "model.predict_modality.n_component=5": "did you mean model.predict_modality.n_components=5?",
    "seeds=1": "no setting 'seeds': did you mean seed=1?",
    "knn": "expected NAME=VALUE, found knn: did you mean model=knn?",
    "dataset=own mine.h5mu": "found mine.h5mu: write dataset=own dataset.h5mu=mine.h5mu",
    "unlike": "expected NAME=VALUE, found unlike: did you mean ensemble=unlike?",
    "gpus=1": "no setting 'gpus': write trainer.accelerator=cuda or cpu",
    "trainer.devices=1": "no setting 'trainer.devices': write trainer.accelerator=cuda or cpu",
    "method=knn": "no setting 'method': write model=NAME",
    "dataset=own h5mu=x.h5mu": "no setting 'h5mu': write dataset=own dataset.h5mu=FILE",
    "dataset.h5mu=x.h5mu": "no setting 'dataset.h5mu' of dataset=mini_cite: for your own cells add",
    "dataset.batch=donor": "of dataset=mini_cite: for your own cells add dataset=own",
    "dataset=my/x.h5": "your own cells are dataset=own dataset.name=NAME dataset.tenx=my/x.h5",
    "dataset=qqq": "`scmobench data list` lists them; your own cells are dataset=own dataset.name=NAME",
    "trainer.accelerator=gpu": "expected accelerator to be one of auto, cpu, cuda, found 'gpu'",
    "model=scmognn model.predict_modality.trainer.max_epochs=2": "did you mean trainer.max_epochs=2?",
    "nonsense=1": "no setting 'nonsense'; there are task, dataset, model",
    "trainer.qqq=3": "no setting 'qqq' in trainer; there are accelerator, precision",
    "model=qqq": "no model 'qqq'; `scmobench models` lists them, and --config-dir FOLDER adds",
    "model=knn model.predict_modality.layers=3 model.predict_modality.hidden=4": (
        "there are n_components, k, transductive; add a setting of your class that the YAML leaves out by "
        "+model.predict_modality."
    ),
    "model=${x}": "no model '${x}'; `scmobench models` lists them",
    "ablation=qqq": "no ablation 'qqq'; there are batch_features,",
    "dataset.name=../x": "expected dataset.name to be a name without /",
    "dataset.name=.x": "expected dataset.name to be a name without /",
    "~model": "expected model=..., found ~model: model is there already, and every run needs it",
    "~seed": "expected seed=..., found ~seed: seed is there already, and every run needs it",
    "metric=rmse": "no setting 'metric': write nothing, since every run has all metrics",
    "+model=knn": "expected model=knn, found +model=knn: model is there already, and every run needs it",
    "+seed=3": "expected seed=3, found +seed=3: seed is there already, and every run needs it",
    "dataset=tiny_cite dataset.test_batches={a:1}": (
        "expected a value of the kind that `--cfg job` shows, found dataset.test_batches={a:1}"
    ),
    "trainer.max_seconds=-1": "expected trainer.max_seconds to be above 0, found -1",
    "seed=0,1": "several values make a sweep, found seed=0,1: add -m, as in scmobench run -m seed=0,1",
}


@pytest.mark.parametrize(("typed", "said"), MEANT.items())
def test_a_slip_gets_one_line_of_advice_that_works(typed: str, said: str, tmp_path: Path) -> None:
    done = here("run", *typed.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("scmobench: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "no run, no record, no folder"
    advised = re.search(r"did you mean (\S+)\?", done.stderr)
    if advised:
        assert compose([advised[1]])


ADVISED = {
    "wandb.mode=offline": ("no setting 'wandb.mode', as wandb has none within: add ", "logger=wandb"),
    "seed.x=1": ("no setting 'seed.x', as seed has none within: write seed=VALUE", ""),
    "model=knn[k=5]": ("found the row knn[k=5] of a table: write ", "model=knn model.predict_modality.k=5"),
    "model=scmognn[hidden=[8],smoke]": (
        "of a table: write ",
        "model=scmognn 'model.predict_modality.hidden=[8]' smoke=true",
    ),
    "model=ensemble_seeds": ("found the row ensemble_seeds of a table: write ", "ensemble=seeds"),
    "model=scmognn+no_pathway+ensemble_seeds": (
        "of a table: write ",
        "model=scmognn ablation=no_pathway ensemble=seeds",
    ),
    "dataset.h5mu": ("expected NAME=VALUE, found dataset.h5mu: did you mean dataset.h5mu=...?", ""),
    "seed = 5": ("expected no spaces around =, found 'seed = 5': write ", "seed=5"),
    "tuned=null": ("expected the name of a file in conf/tuned, found tuned=null: for none, write ", "~tuned"),
    **{
        f"{group}={value}": (f"expected {group} to be one of ", "")
        for group in ("dataset", "model", "logger", "task")
        for value in ("null", "[a]")
    },
}


@pytest.mark.parametrize(("typed", "told"), ADVISED.items())
def test_the_advice_leads_out_of_a_wrong_override(typed: str, told: tuple[str, str]) -> None:
    said, advised = told
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        compose([typed])
    assert "\n" not in str(error.value)
    if advised:
        assert str(error.value).endswith(said + advised)
        again = [*shlex.split(advised), *([typed] if advised == "logger=wandb" else [])]
        assert compose(again)


def test_another_size_for_a_setting_is_added_as_advised() -> None:
    setting = "model.predict_modality.batch_size"
    with pytest.raises(ValueError, match=rf"expected values of {setting} for default, .*, write ") as error:
        compose(["model=scmognn", f"{setting}={{from_5_cells:32}}"])
    (advised,) = shlex.split(str(error.value).rpartition("write ")[2])
    assert compose(["model=scmognn", advised]).model.predict_modality.batch_size.from_5_cells == 32


@pytest.mark.parametrize(
    ("choice", "setting"), [("ablation=no_pathway", "pathway"), ("ensemble=competition", "validation")]
)
def test_an_ablation_or_ensemble_of_another_model_is_named(choice: str, setting: str, tmp_path: Path) -> None:
    line = ("run", "model=knn", "dataset=tiny_cite")
    (told,) = here(*line, choice, cwd=tmp_path).stderr.splitlines()
    takes = f"no setting '{setting}'; it takes n_components, k, transductive"
    expected = f"expected settings that the model takes in {choice}, found {takes}: leave {choice} out"
    assert told == f"scmobench: {expected}"
    assert not list(tmp_path.iterdir())
    tried = here("validate", *line[1:], choice, cwd=tmp_path)
    assert tried.stderr == f"scmobench: {expected}\n"
    with pytest.raises(ValueError, match=re.escape(expected)):
        sb.run("knn", "tiny_cite", task="predict_modality", overrides=[choice])
    swept = here(*line, "-m", f"{choice},none", "smoke=true", cwd=tmp_path)
    assert f"{expected}\n" in swept.stdout
    assert swept.stderr == f"scmobench: {expected}\n"
    assert "1 ran, 1 failed" in swept.stdout
    typed = here(*line, "+model.predict_modality.other=1", cwd=tmp_path)
    assert typed.stderr.startswith("scmobench: no setting 'other'; it takes")
    assert here(*line, cwd=tmp_path).returncode == 0


def test_a_folder_beside_the_users_yaml_that_hides_a_setting_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="expected no folder 'runs' in --config-dir or"):
        compose(["runs=x"], tmp_path)
    (tmp_path / "yaml").mkdir()
    assert compose(["runs=x"], tmp_path / "yaml").runs == "x"


def test_names_of_other_commands_are_checked_alike(tmp_path: Path) -> None:
    for line in ("data check mini_cit", "validate dataset=mini_cit"):
        assert "did you mean dataset=mini_cite?" in here(*line.split(), cwd=tmp_path).stderr, line


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("name: other\n", "expected own.yaml to say `name: own`, found 'other'"),
        ("kind: method\n", "expected own.yaml to say `name: own`, found None: name them alike"),
        (
            "name: own\npredict_modality: my_method.Own\n",
            "found 'my_method.Own': write predict_modality: {_target_: my_method.Own}",
        ),
        ("name: own\nkindd: method\n", "own.yaml: no key 'kindd' of a model: did you mean kind?"),
        (
            "name: own\npredict_modalty: {_target_: my_method.Own}\n",
            "no key 'predict_modalty' of a model: did you mean predict_modality?",
        ),
        (
            "name: own\npredict_modality: {_target_: my_method.Own, alhpa: 1}\n",
            "no setting 'alhpa': did you mean alpha?",
        ),
    ],
)
def test_a_models_file_from_outside_says_what_its_class_takes(yaml: str, said: str, tmp_path: Path) -> None:
    body = "        return self\n\n    def predict(self, data): ...\n\n    def __init__(self, alpha=1): ...\n"
    own_model(tmp_path, body)
    rest = "" if "predict_modal" in yaml else "predict_modality: {_target_: my_method.Own}\n"
    (tmp_path / "mine" / "model" / "own.yaml").write_text(yaml + rest)
    for command in ("run", "validate"):
        done = here(command, *OWN, "model=own", cwd=tmp_path)
        assert done.returncode == 1
        (told,) = done.stderr.splitlines()
        assert said in told
        assert not (tmp_path / "runs").exists()


def test_a_direction_is_typed_as_tables_print_it() -> None:
    for typed, meant in (("GEX2ADT", "GEX2ADT"), ("GEX→ATAC", "GEX2ATAC"), ("adt2gex", "ADT2GEX")):
        assert compose([f"direction={typed}"]).direction == meant


def test_a_path_from_the_home_folder_is_found(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = here("run", "dataset=pbmc10x_cite", "dataset.path=~/x", cwd=tmp_path, HOME=str(home))
    assert f"in one of ['{home}/x']" in done.stderr
    done = here("run", "dataset=tiny_cite", "model=mean", "runs=~/r", cwd=tmp_path, HOME=str(home))
    assert list((home / "r").rglob("record.json")), done.stderr
    done = here("leaderboard", "--records=~/r", "--out=~/tables", cwd=tmp_path, HOME=str(home))
    assert (home / "tables" / "index.html").is_file(), done.stderr


SLIPS = {
    "run --model knn dataset=tiny_cite": "found --model: write model=knn",
    "run --model=knn dataset=tiny_cite": "found --model: write model=knn",
    "run model=mean,svd_linear dataset=tiny_cite seed=0,1": (
        "found model=mean,svd_linear seed=0,1: add -m, as in "
        "scmobench run -m model=mean,svd_linear dataset=tiny_cite seed=0,1"
    ),
    "run model=linear_hungarian dataset=tiny_cite": "it serves match_modality: add task=match_modality",
    "run model=knn dataset=tiny_cite model.k=50": "did you mean model.predict_modality.k=50?",
    "run model=mean dataset = tiny_cite": "found 'dataset' alone: write model=mean dataset=tiny_cite",
    "run model=mean dataset= tiny_cite": "found 'tiny_cite' alone: write model=mean dataset=tiny_cite",
    "run model=mean dataset =tiny_cite": "found 'dataset' alone: write model=mean dataset=tiny_cite",
}


@pytest.mark.parametrize(("typed", "said"), SLIPS.items())
def test_a_slip_in_a_whole_command_is_told_in_one_line(typed: str, said: str, tmp_path: Path) -> None:
    done = here(*typed.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("scmobench: ")
    assert done.stderr.endswith(f"{said}\n")


@pytest.mark.parametrize(
    "advised",
    [
        "run model=knn dataset=tiny_cite",
        "run -m model=mean,svd_linear dataset=tiny_cite seed=0,1",
        "run model=linear_hungarian dataset=tiny_cite task=match_modality",
        "run model=mean dataset=tiny_cite",
        "run model=knn dataset=tiny_cite model.predict_modality.k=50",
    ],
)
def test_what_is_advised_for_a_whole_command_runs(advised: str, tmp_path: Path) -> None:
    done = here(*advised.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs").rglob("prediction.h5ad"))


UNREAD = ["variant=[", "variant=a(b", "variant={", "variant='a", "variant=é", "variant=f(1)", "variant=a,["]


@pytest.mark.parametrize("typed", [*UNREAD, "a b=3", "3=4"])
def test_an_override_that_cannot_be_read_is_told_in_one_line(typed: str, tmp_path: Path) -> None:
    for command in (["run"], ["run", "-m"], ["validate"]):
        done = here(*command, "dataset=tiny_cite", typed, cwd=tmp_path)
        assert done.stderr.startswith("scmobench: expected NAME=VALUE that can be read, found ")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    if typed in UNREAD and "'" not in typed:
        (advised,) = shlex.split(re.search(r'quotes, (".*")', done.stderr)[1])
        text = typed.partition("=")[2]
        assert compose([advised.replace("VALUE", text)]).variant == text


def test_what_is_advised_for_such_an_override_is_there(tmp_path: Path) -> None:
    shown = here("run", "dataset=tiny_cite", "--cfg", "job", cwd=tmp_path).stdout
    assert "test_batches:\n  - batch3" in shown
    for right in ("model=knn", "seed=3", "~tuned", "++seed=3"):
        assert compose(["dataset=tiny_cite", right])


GLOBAL, FIRST = "# @package _global_\n", "begin with `# @package _global_`"
SEEDS, NAME = "sweeper: {params: {seed: '0,1'}}}", "say `name: ensemble_mine`"
WRONG_FILES = [
    ("sweep", f"hydra: {{mode: MULTIRUN, {SEEDS}", FIRST),
    ("sweep", f"{GLOBAL}hydra: {{{SEEDS}", "say `mode: MULTIRUN` under"),
    ("ablation", "variant: mine\nmodel: {predict_modality: {k: 5}}", FIRST),
    ("sweep", "- seed", FIRST),
    ("launcher", "hydra: {launcher: {n_jobs: 2}}", FIRST),
    *(
        (group, "- name", "be settings, `key: value` in a line, found a list")
        for group in ("task", "dataset", "model", "trainer", "ensemble")
    ),
    ("ablation", f"{GLOBAL}variant: layers_5\nmodel: {{predict_modality: {{k: 5}}}}", "`variant: mine`"),
    ("ensemble", "weights: equal\nmembers: [[], []]", NAME),
    ("ensemble", "name: ensemble_seeds\nweights: equal\nmembers: [[], []]", NAME),
    (
        "ensemble",
        "name: ensemble_mine\nweights: equal\nmembers: [[model=knn], [model=mean]]",
        "say `unlike: true`: its members",
    ),
]


@pytest.mark.parametrize(("group", "text", "said"), WRONG_FILES)
def test_a_file_that_would_make_other_runs_than_it_says_is_refused(
    group: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "mine" / group / "mine.yaml").write_text(text)
    chosen = {"model": "knn", "dataset": "tiny_cite", group: "mine"}
    typed = [f"{name}={choice}" for name, choice in chosen.items()]
    done = here("run", "--config-dir", "mine", *typed, cwd=tmp_path)
    assert done.returncode == 1
    assert f"expected {group}/mine.yaml to " in done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert [place.name for place in tmp_path.iterdir()] == ["mine"]
