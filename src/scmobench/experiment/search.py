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
from scmobench.experiment.config import digest
from scmobench.machine.files import file_name, writable

STUDY, RESULT = "study.db", "optimization_results.yaml"  # Optuna's sweeper names the second
REVISION = "v2.6.0.a"  # of the tables of Optuna 2.10, the last that Hydra's sweeper takes
PLACE = ("task", "dataset", "model", "direction")  # what the name of a study says
APART = ("sweep", "launcher", "runs", "force", "hydra", "score_on")  # no part of the settings


def is_search(config: DictConfig) -> bool:
    """Whether the sweep chooses its settings itself."""
    return "n_trials" in config.hydra.sweeper


def prepare(config: DictConfig) -> dict[str, Any]:
    """Give a search a folder of its own in ``runs/searches``, with an SQLite study unless another is named.

    A search that was begun before goes on: ``hydra.sweeper.n_trials`` counts the trials of the whole study.
    Returns the folder and the overrides that all trials share. Raises ValueError if the search has nothing to
    choose from.
    """
    sweeper, typed = config.hydra.sweeper, list(config.hydra.overrides.task)
    read = OverridesParser.create().parse_overrides(typed)
    fixed = [o.input_line for o in read if not o.is_sweep_override() and group(o.input_line) not in APART]
    if len(fixed) == len([o for o in typed if group(o) not in APART]) and not sweeper.get("params"):
        raise ValueError(
            "expected a search to say what it chooses from, found no list of values: take "
            "sweep=tune_MODEL or sweep=tune_TASK of conf/sweep, or add a model, a data set and lists, e.g. "
            "model=knn dataset=mini_cite 'model.predict_modality.k=choice(5,20,50)'"
        )
    others = sorted(override for override in fixed if key(override) not in PLACE)
    suffix = f"-{digest(others)[:8]}" if others else ""
    folder = writable(Path(config.runs, "searches", file_name(f"{sweeper.study_name}{suffix}")), "name runs=")
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder)
    sweeper.storage = sweeper.storage or f"sqlite:///{_stamped(folder.resolve() / STUDY)}"
    ended = _ended(sweeper.study_name, sweeper.storage)
    sweeper.n_trials = max(0, sweeper.n_trials - ended)
    if (sweeper.get("sampler") or {}).get("seed") is not None:
        sweeper.sampler.seed += ended  # else it would draw the first trials again
    (folder / RESULT).unlink(missing_ok=True)
    chosen = [f"{name}={config.hydra.runtime.choices[name]}" for name in PLACE[:3]]
    return {"search": str(folder), "given": [*chosen, f"direction={config.direction}", *others]}


def _stamped(study: Path) -> Path:
    """The file of a study. Optuna 2.10 marks its version without a commit, which SQLAlchemy 2 asks for."""
    with contextlib.closing(sqlite3.connect(study)) as file, file:
        file.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        file.execute("INSERT OR IGNORE INTO alembic_version VALUES (?)", [REVISION])
    return study


def _ended(name: str, storage: str) -> int:
    """Trials of an earlier call that ended."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.suppress(KeyError):  # no study of this name
        return sum(trial.state.is_finished() for trial in optuna.load_study(name, storage).trials)
    return 0


def found(search: Mapping[str, Any]) -> str:
    """The best trial in words, with the command that uses its settings; empty if the search did not end."""
    result = Path(search["search"]) / RESULT
    if not result.is_file():
        return ""
    best = OmegaConf.load(result)
    chosen = [f"{name}={_typed(value)}" for name, value in best.best_params.items()]
    command = shlex.join(["scmobench", "run", *search["given"], *chosen])
    told = f"best trial {best.best_value:.4f}, on training cells alone ({result})"
    return f"{told}\nuse its settings:  {command}"


def _typed(value: Any) -> str:
    """A value as the command line takes it."""
    return {"True": "true", "False": "false", "None": "null"}.get(str(value), str(value))
