"""What a configuration may build, set and call: checked before Hydra acts on it, whoever wrote the YAML."""

import os
import pickle
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from odd_settings import outcome, sweep
from scmobench.cli import main
from scmobench.data.source import Source
from scmobench.experiment import config
from scmobench.experiment.loader import USER_ERRORS, CheckedLoader, conf_dir, one_line
from scmobench.experiment.plan import model_block
from scmobench.experiment.run import MODEL
from scmobench.experiment.settings import check_types
from scmobench.models.base import Model
from scmobench.tasks.base import Task

CALL = "{_target_: os.mkdir, path: pwned}"
KNN = "scmobench.models.prediction.knn.KNN"
NAMES = "expected `_target_` to name a module and a class in it, MODULE.CLASS, found"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def built(*overrides: str, folder: str | None = None) -> None:
    cfg = config.compose(["dataset=tiny_cite", *overrides], folder)
    config.build(cfg.task, Task)
    config.build(cfg.dataset, Source)
    config.build(config.for_subtask(model_block(cfg, "predict_modality"), "GEX2ADT"), MODEL)


def refused(*overrides: str, folder: str | None = None) -> str:
    """What is said where a configuration is composed, and all that it names is built."""
    with pytest.raises(USER_ERRORS) as error:
        built(*overrides, folder=folder)
    assert not Path("pwned").exists()
    return one_line(error.value)


def said(*arguments: str) -> str:
    """What the command line says as it stops."""
    with pytest.raises(SystemExit) as stopped:
        main(["run", "dataset=tiny_cite", "smoke=true", *arguments])
    assert not Path("pwned").exists()
    assert not list(Path().rglob("prediction.h5ad"))
    assert "HYDRA_FULL_ERROR" not in os.environ
    told = str(stopped.value.code)
    assert told.startswith("scmobench: ")
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("scmobench.training.resume.torch.load", "that can be imported"),
        ("scmobench.training.resume.Trainer", "to name a class or function of"),
        ("scmobench.training.resume.torch", "to name a class or function of"),
        ("scmobench.training.resume.VERSION", "to name a class or function of"),
        ("scmobench.training.resume.os.system", "that can be imported"),
        ("scmobench.experiment.records.training_folder", "to be Model or SolutionControl, found"),
        ("scmobench.__main__.main", "to be Model or SolutionControl, found"),
        ("scmobench.metrics.nmi.nmi", ".metrics.nmi.nmi: inherit from scmobench.models.base.Model"),
        ("scmobench.data.synthetic.Synthetic", "to be Model or SolutionControl, found"),
        ("scmobench..os.system", "to name a module and a class in it"),
        ("scmobench", f"{NAMES} 'scmobench'"),
        ("5", f"{NAMES} 5"),
    ],
)
def test_a_target_is_defined_in_an_allowed_module_and_of_the_kind_of_its_place(
    target: str, message: str
) -> None:
    assert message in refused("model=knn", f"model.predict_modality={{_target_:{target}}}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"dataset={{_target_:{KNN},name:x}}", f"to be Source, found {KNN}"),
        (f"dataset._target_={KNN}", "to be Source, found"),
        (f"task._target_={KNN}", "to be Task, found"),
        (f"trainer._target_={KNN}", "trainer to be TrainerSettings or null"),
        (
            "model.predict_modality.trainer={max_epochs:2}",
            "found {'max_epochs': 2}: add `_target_: scmobench.training.fit.TrainerSettings` to it",
        ),
        ("logger._target_=scmobench.experiment.records.training_folder", "expected logger to be"),
        ("logger._partial_=false", "expected logger to be"),
        ("+logger._args_=[1]", "beside `_target_`, found _args_"),
        (
            "+model.predict_modality.more={_target_:scmobench.experiment.launcher.RayWorkers}",
            "expected more to be",
        ),
        ("+model.predict_modality.more=[{_target_:subprocess.run}]", "is outside ['scmobench']"),
        (
            "model.predict_modality.hidden={_target_:scmobench.nn.mlp.MLP}",
            "hidden to be a whole number, found",
        ),
    ],
)
def test_what_stands_within_a_place_is_of_its_kind(override: str, message: str) -> None:
    assert message in refused("model=scmognn", override)


def test_classes_of_layers_and_of_the_users_own_may_be_settings_without_annotation() -> None:
    class Own(Model):
        def __init__(self, layer=None, made: Model | None = None) -> None: ...

    parts = {"own": Own, "layer": config.located("scmobench.nn.mlp.MLP", {"scmobench"})}
    layer = {"_target_": "layer", "n_in": 1, "n_out": 1}
    node = {"_target_": "own", "layer": layer, "made": {"_target_": "own"}}
    check_types(node, parts.__getitem__, Model)
    with pytest.raises(ValueError, match="expected made to be Model or null, found layer"):
        check_types(node | {"made": layer}, parts.__getitem__, Model)


HYDRA = [
    ("+hydra.callbacks.x={_target_:os.mkdir,path:pwned}", "no callback of Hydra but those of conf/"),
    ("hydra.callbacks.progress._target_=os.mkdir", "no callback of Hydra but those of conf/"),
    ("hydra.callbacks=${seed}", "no callback of Hydra but those of conf/"),
    ("launcher=joblib +hydra.callbacks.launcher.environment={A:1}", "no callback of Hydra but those"),
    ("hydra.launcher._target_=os.mkdir +hydra.launcher.path=pwned", "hydra.launcher._target_ to be one of"),
    ("+hydra.launcher.x={_target_:os.mkdir,path:pwned}", "hydra.launcher.x._target_ to be one of"),
    ("hydra.sweeper._target_=os.mkdir", "hydra.sweeper._target_ to be one of"),
    ("+hydra.sweeper.x=[{_target_:os.mkdir,path:pwned}]", "hydra.sweeper.x.0._target_ to be one of"),
    ("hydra/job_logging=default", "expected hydra.job_logging to be"),
    ("+hydra.job_logging.handlers={x:{class:os.mkdir}}", "expected hydra.job_logging to be"),
    ("+hydra.hydra_logging.formatters={x:{'()':os.mkdir}}", ""),
    ("+hydra.hydra_logging.root.handlers=[x]", "expected hydra.hydra_logging to be"),
    ("hydra.run.dir=pwned", "expected hydra.run to be {'dir': '.'}"),
    ("hydra.sweep.subdir=../pwned", "expected hydra.sweep to be"),
    ("hydra.output_subdir=pwned", "expected hydra.output_subdir to be None"),
    ("hydra.job.chdir=true", "expected hydra.job.chdir to be False"),
    ("+hydra.job.env_set.A=1", "expected hydra.job.env_set to be {}"),
    ("hydra.job.env_copy=[HOME]", "expected hydra.job.env_copy to be []"),
    ("hydra.job.env_copy=[NOSUCH]", "expected no variables for Hydra to copy"),
    ("hydra.verbose=0", "expected hydra.verbose to be False"),
    ("hydra.searchpath=[pkg://pytest]", "folders in hydra.searchpath, found pkg://pytest"),
    ("hydra.searchpath=5", "folders in hydra.searchpath, found 5"),
    ("hydra.overrides.task=[x]", "expected hydra.overrides to be those of the command line"),
]


@pytest.mark.parametrize(("overrides", "message"), HYDRA)
def test_hydras_own_nodes_are_as_shipped_or_of_a_list(overrides: str, message: str) -> None:
    assert message in refused("model=knn", *overrides.split(" "))


def test_hydra_builds_nothing_before_the_check() -> None:
    for overrides, message in (HYDRA[0], HYDRA[3], HYDRA[5], HYDRA[8]):
        for mode in ([], ["-m"]):
            assert message in said("model=knn", *mode, *overrides.split(" "))


SLURM = "defaults: [{override /launcher: slurm}]"
ALONE = "expected `modules` on the command line alone"
FOREIGN = {
    "callback": (f"hydra: {{callbacks: {{x: {CALL}}}}}", "no callback of Hydra"),
    "sampler": (
        f"defaults: [{{override /hydra/sweeper: optuna}}]\nhydra: {{sweeper: {{sampler: {CALL}}}}}",
        "Error",
    ),
    "logging": (
        "hydra: {job_logging: {formatters: {x: {(): os.mkdir}}}}",
        "expected hydra.job_logging to be",
    ),
    "variables": ("hydra: {job: {env_set: {LD_PRELOAD: x}}}", "expected hydra.job.env_set to be {}"),
    "shell": (
        f"{SLURM}\nhydra: {{launcher: {{setup: [mkdir pwned]}}}}",
        "expected hydra.launcher.setup on the command line",
    ),
    "lines": (
        f'{SLURM}\nhydra: {{launcher: {{account: "x\\nmkdir pwned"}}}}',
        "expected hydra.launcher.account to be a line of text",
    ),
    "modules": ("modules: [subprocess]", ALONE),
    "listed": ("hydra: {mode: MULTIRUN, sweeper: {params: {modules: '[os]'}}}", ALONE),
    "secret": ("variant: '${oc.env:HOME}'", "expected a variable SCMOBENCH_... in ${oc.env:...}, found HOME"),
    "hidden": ("variant: '${oc.decode:\"${oc.en\" }'", ""),
    "tag": ("variant: !!python/object/apply:os.mkdir [pwned]", "python/object/apply:os.mkdir"),
    "damaged": ("variant: [", "while parsing"),
    "aliases": (f"variant: [&a x, {', '.join(['*a'] * 30)}]", "expected at most 20 aliases in"),
    "itself": ("variant: &a [*a]", ""),
    "nodes": (f"variant: evil\nmodel: {{predict_modality: {{more: {CALL}}}}}", "is outside ['scmobench']"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_yaml_of_others_runs_no_code(name: str) -> None:
    text, message = FOREIGN[name]
    for group in ("sweep", "ablation"):
        if group == "sweep" or "override" not in text:
            Path("mine", group).mkdir(parents=True)
            Path("mine", group, "evil.yaml").write_text(f"# @package _global_\n{text}\n")
            assert message in refused(f"{group}=evil", "model=knn", folder="mine")
    if name in ("callback", "logging", "modules", "aliases"):
        assert message in said("--config-dir", "mine", "sweep=evil", "model=knn")


def test_yaml_of_others_names_no_modules_by_members() -> None:
    told = refused("ensemble=seeds", "ensemble.members=[['modules=[subprocess]'],[]]")
    assert told.startswith("expected members to set neither `modules` nor Hydra, found modules=[subprocess]")


@pytest.mark.parametrize(
    "options",
    ["--config-name=evil", "--config-path mine", "-cnevil", "--exp mine.pickle", "--config-d mine", "--"],
)
def test_hydras_options_that_would_run_other_files_are_refused(options: str) -> None:
    assert "your own YAML goes into a folder named by --config-dir" in said(*options.split(" "))


def test_the_check_goes_with_a_sweep_into_its_workers() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = pickle.loads(pickle.dumps(GlobalHydra.instance().config_loader()))
    assert isinstance(loader, CheckedLoader)
    master = loader.load_configuration("config", ["dataset=tiny_cite"], RunMode.MULTIRUN)
    assert loader.load_sweep_config(master, ["seed=3"]).seed == 3
    for override in ("+hydra.callbacks.x={_target_:os.mkdir}", "hydra.run.dir=pwned", "seed=x"):
        with pytest.raises(ValueError, match="expected"):
            loader.load_sweep_config(master, [override])


def test_the_suites_own_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCMOBENCH_COMPETITION", "there")
    assert config.compose(["dataset=competition"]).dataset.path == "there"
    monkeypatch.delenv("SCMOBENCH_COMPETITION")
    assert config.compose(["dataset=competition"]).dataset.path is None


@pytest.mark.parametrize("choice", ["task=1e308", "logger=1_000", "dataset=2", "trainer=true"])
def test_a_choice_that_is_no_name_is_shown(choice: str) -> None:
    group = choice.partition("=")[0]
    told = refused(choice)
    assert told.startswith(f"expected {group} to be one of ")
    assert told.endswith(f", found {choice}")
    name = told.partition(" one of ")[2].partition(", found")[0].split(", ")[0]
    assert config.compose([f"{group}={name}", *(["dataset=tiny_cite"] if group != "dataset" else [])])


def test_runs_without_a_folder_are_refused() -> None:
    """Else records would lie among the user's own files."""
    for override in ("runs=", "runs=''", "runs=' '"):
        assert refused(override).startswith("expected runs to be a text that is not empty")


def test_sizes_beyond_the_machine_are_refused_before_they_are_allocated() -> None:
    for model, override in (
        ("knn", "dataset.n_cells=1000000000000"),
        ("knn", "dataset.n_cells=9000000000000000000"),
        ("scmognn", "model.predict_modality.hidden=1000000000000"),
        ("scmognn", "model.predict_modality.hidden=4000000000"),
    ):
        result, told = outcome(model, override, "runs")
        expected = "sizes that fit the machine's" if model == "knn" else "a fit within"
        assert (result, f"expected {expected}" in told) == ("line", True), (override, told)


def test_odd_values_of_settings_end_in_a_right_run_or_one_clear_line() -> None:
    found = sweep(share=0.006, seed=1)
    assert set(found) <= {"right", "line"}, found
    assert found["line"]
