"""A search of settings by Optuna: its folder, its study, which can be resumed, and what it found."""

import contextlib
import shlex
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.arguments import group, key
from scmobench.experiment.config import digest, names
from scmobench.machine.files import file_name, writable

STUDY, RESULT = "study.db", "optimization_results.yaml"  # Optuna's sweeper names the second
REVISION = "v2.6.0.a"  # of the tables of Optuna 2.10, the last that Hydra's sweeper takes
PLACE = ("task", "dataset", "model", "direction")  # what the name of a study says
NO_SCORE = "expected a trial with a score, found that all failed: correct what their messages say, and take "
NO_SCORE += "a larger hydra.sweeper.n_trials"
APART = ("sweep", "launcher", "runs", "force", "hydra", "score_on")  # no part of the settings


def is_search(config: DictConfig) -> bool:
    """Whether the sweep chooses its settings itself."""
    return "n_trials" in config.hydra.sweeper


def prepare(config: DictConfig) -> dict[str, Any]:
    """Give a search a folder of its own in ``runs/searches``, with an SQLite study unless another is named.

    A search that was begun before goes on: ``hydra.sweeper.n_trials`` counts the trials of the whole study.
    Returns the folder, how many trials ended before, and the arguments that all trials share. Raises
    ValueError for fewer trials than one, if all of them failed before, and if the search has nothing to
    choose from, or settings that the model has not; OSError if its folder or its study cannot be used.
    """
    sweeper, typed = config.hydra.sweeper, list(config.hydra.overrides.task)
    for name in ("n_trials", "n_jobs"):
        if sweeper[name] < 1:
            raise ValueError(f"expected hydra.sweeper.{name} to be 1 or more, found {sweeper[name]}")
    read = OverridesParser.create().parse_overrides(typed)
    fixed = [o.input_line for o in read if not o.is_sweep_override() and group(o.input_line) not in APART]
    if len(fixed) == len([o for o in typed if group(o) not in APART]) and not sweeper.get("params"):
        raise ValueError(
            "expected a search to say what it chooses from, found no list of values: take "
            "sweep=tune_MODEL or sweep=tune_TASK of conf/sweep, or add a model, a data set and lists, e.g. "
            "model=knn dataset=mini_cite 'model.predict_modality.k=choice(5,20,50)'"
        )
    _refuse_foreign(config)
    others = sorted(override for override in fixed if key(override) not in PLACE)
    suffix = f"-{digest(others)[:8]}" if others else ""
    folder = writable(Path(config.runs, "searches", file_name(f"{sweeper.study_name}{suffix}")), "name runs=")
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    trials = _opened(sweeper, folder.resolve() / STUDY)
    sweeper.n_trials, ended = max(0, sweeper.n_trials - len(trials)), len(trials)
    if not (sweeper.n_trials or any(trial.values for trial in trials)):
        raise ValueError(NO_SCORE)
    if (sweeper.get("sampler") or {}).get("seed") is not None:
        sweeper.sampler.seed += ended  # else it would draw the first trials again
    (folder / RESULT).unlink(missing_ok=True)
    chosen = [f"{name}={config.hydra.runtime.choices[name]}" for name in PLACE[:3]]
    own = ["--config-dir", own] if (own := config_folder(config.hydra)) else []
    given = [*own, *chosen, f"direction={config.direction}", *others]
    return {"search": str(folder), "ended": ended, "given": given}


def config_folder(job: Any) -> str | None:
    """The folder of ``--config-dir``, from Hydra's own node; None if none was given."""
    return next((one.path for one in job.runtime.config_sources if one.provider == "command-line"), None)


def _refuse_foreign(config: DictConfig) -> None:
    """Raise ValueError if the sweep's YAML chooses settings that the model has not."""
    model, task = config.model.name, config.task.name
    for name in config.hydra.sweeper.get("params") or {}:
        node = OmegaConf.select(config, name.rpartition(".")[0])
        if group(name) != "model" or (OmegaConf.is_dict(node) and name.rpartition(".")[2] in node):
            continue
        advice = f"leave model={model} out"
        if own := [setting for setting in config.model.get(task, {}) if setting != "_target_"]:
            listed = f"'model.{task}.NAME=choice(VALUE,VALUE)' with a NAME of {', '.join(own)}"
            advice = f"take sweep=tune {listed}"
        if f"tune_{model}" in names("sweep"):
            advice = f"take sweep=tune_{model}"
        sweep = config.hydra.runtime.choices.get("sweep")
        raise ValueError(f"expected settings of {model} in sweep={sweep}, found {name}: {advice}")


def _opened(sweeper: DictConfig, file: Path) -> list[Any]:
    """Open the study, in ``file`` unless another storage is named, and return its trials that ended.

    Raises OSError if it cannot be opened.
    """
    place, advice = file, "make room, let it be written, or move the file away to begin again"
    if sweeper.storage:
        place, advice = "hydra.sweeper.storage", "check its address, or leave it out for a file of its own"
    try:
        import optuna

        sweeper.storage = sweeper.storage or f"sqlite:///{_stamped(file)}"
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with contextlib.suppress(KeyError):  # no study of this name
            trials = optuna.load_study(sweeper.study_name, sweeper.storage).trials
            return [trial for trial in trials if trial.state.is_finished()]
        return []
    except Exception as error:  # each kind of storage has errors of its own
        found = str(error).partition("\n")[0]
        raise OSError(f"expected a study of Optuna at {place}, found {found}: {advice}") from error


def _stamped(study: Path) -> Path:
    """The file of a study. Optuna 2.10 marks its version without a commit, which SQLAlchemy 2 asks for."""
    with contextlib.closing(sqlite3.connect(study)) as file, file:
        file.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        file.execute("INSERT OR IGNORE INTO alembic_version VALUES (?)", [REVISION])
    return study


def found(search: Mapping[str, Any]) -> str:
    """The best trial in words, with the command that uses its settings; empty if the search did not end."""
    result = Path(search["search"]) / RESULT
    if not result.is_file():
        return ""
    best = OmegaConf.load(result)
    typed = {"True": "true", "False": "false", "None": "null"}
    values = {name: str(value) for name, value in best.best_params.items()}
    chosen = [f"{name}={typed.get(value, value)}" for name, value in values.items()]
    command = shlex.join(["scmobench", "run", *search["given"], *chosen])
    told = f"best trial {best.best_value:.4f}, on training cells alone ({result})"
    return f"{told}\nuse its settings:  {command}"
