"""The Hydra application behind ``scmobench run``, and its dry run."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from scmobench.data.source import Source
from scmobench.experiment import records
from scmobench.experiment.config import (
    build,
    compose,
    for_subtask,
    names,
    not_installed,
)
from scmobench.experiment.ensemble import member_configs, run_ensemble
from scmobench.experiment.launcher import refuse_lacking
from scmobench.experiment.loader import USER_ERRORS, conf_dir, one_line, refuse_hidden
from scmobench.experiment.overrides import as_text
from scmobench.experiment.parser import lazy_help, sorted_arguments
from scmobench.experiment.progress import PRIMARY, TOTAL
from scmobench.experiment.run import MODEL, cells, method_name, model_block, run
from scmobench.machine import arithmetic
from scmobench.tasks.base import Task
from scmobench.training.memory import within_memory


def launch(arguments: Sequence[str]) -> None:
    """Run one experiment or a sweep.

    Raises
    ------
    ValueError, HydraException : what a run or the first failed run of a sweep says.
    """
    sys.path.append(os.getcwd())  # a method of the user's own, named in `modules`
    options, overrides = sorted_arguments(arguments)
    for folder in [value for name, value in pairwise(options) if name in ("--config-dir", "-cd")]:
        refuse_hidden(folder)
    refuse_lacking(overrides)
    sys.argv = ["scmobench run", *options, *as_text(overrides)]
    # Hydra hands errors on: the command line says them. The number of runs is not that of an earlier sweep
    with lazy_help(), env_override({"HYDRA_FULL_ERROR": "1", TOTAL: "1"}):
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(experiment)()


class Scored(dict[str, Any]):
    """A record that is also a number, the score its task is ranked by: what a sweeper that searches wants."""

    def __float__(self) -> float:
        value = self["scores"][PRIMARY[self["task"]]]["value"]
        if value is None:
            raise ValueError(f"{self['method']} has no score to search by")
        return float(value)


def experiment(cfg: DictConfig) -> dict[str, Any]:
    """One job: its record, or a failed record and the error."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    given = list(HydraConfig.get().overrides.task)
    method, begun = "", False
    try:
        arithmetic.check(cfg.arithmetic)
        check_ablation(cfg, HydraConfig.get().runtime.choices.get("ablation"))
        method = method_name(cfg, given)
        if told := idle_ablation(cfg, given, lambda others: hydra.compose("config", overrides=others)):
            if HydraConfig.get().mode == RunMode.RUN:
                raise ValueError(told)
            return {"skipped": True, "message": told}  # sweeps cross lists of ablations and of datasets
        begun = True
        with within_memory():
            return Scored(run_ensemble(cfg, given, method) if cfg.ensemble.members else run(cfg, method))
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns it into an exit
            raise
        if type(error).__name__ == "SIGTERMException":  # and this: a time limit ends the sweep, not the run
            raise SystemExit(128 + signal.SIGTERM) from error
        if isinstance(error, SystemExit):  # a model's own: the sweep goes on
            told = f"the run called sys.exit({error.code!r})"
            error = RuntimeError(told).with_traceback(error.__traceback__)
        lost = records.write_failure(cfg.runs, _attempt(cfg, method), error) if begun else ""
        place = f"{place_in_modules(error, cfg.modules)} {lost}".strip()
        if not isinstance(error, USER_ERRORS):
            if place:
                error.add_note(place)
            raise error
        told = f"{one_line(error)} {place}".strip()
        if HydraConfig.get().mode == RunMode.RUN:
            raise SystemExit(f"scmobench: {told}") from error
        raise CompactHydraException(told) from error  # the sweep goes on; no traceback of what is not ours


def place_in_modules(error: BaseException, modules: Sequence[str]) -> str:
    """File and line in the user's own code that the error came from; empty where it did not."""
    own = {str(getattr(sys.modules.get(name), "__file__", "")) for name in modules}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in own]
    if not frames:
        return ""
    hint = ""
    if "NoneType" in str(error):
        hint = "; fit is given data.test_mod1 where the class says `transductive = True`, "
        hint += "data.labels where it says `label_supervised = True`"
    return f"({Path(frames[-1].filename).name}, line {frames[-1].lineno}{hint})"


def idle_ablation(
    cfg: DictConfig, overrides: Sequence[str], compose: Callable[[list[str]], DictConfig]
) -> str:
    """What to say where the model has the same settings for this task and subtask without the ablation."""
    if not cfg.variant or _changes_settings(cfg, compose(_without_ablation(overrides))):
        return ""
    return (
        f"ablation={cfg.variant} changes nothing of {cfg.task.name} with {cfg.model.name} on "
        f"{cfg.dataset.name}: leave it out, or name another task, model or dataset"
    )


def _without_ablation(overrides: Sequence[str]) -> list[str]:
    return [o for o in overrides if o.split("=")[0] not in ("ablation", "sweep") and "hydra" not in o]


def _changes_settings(cfg: DictConfig, whole: DictConfig) -> bool:
    blocks = [model_block(c, cfg.task.name) for c in (cfg, whole)]
    changed = [key for key in blocks[0] | blocks[1] if blocks[0].get(key) != blocks[1].get(key)]
    if not any(isinstance(block.get(key), dict) for key in changed for block in blocks):
        return bool(changed)
    subtask = build(cfg.task, Task, modules=cfg.modules).subtask(
        cells(cfg), cfg.direction
    )  # which value holds
    return for_subtask(blocks[0], subtask) != for_subtask(blocks[1], subtask)


def check_ablation(cfg: DictConfig, choice: str | None) -> None:
    """Refuse an ablation that does not name itself: its row would pass as the whole method's.

    Raises
    ------
    ValueError : its YAML lacks ``variant``.
    """
    if choice not in (None, "none") and not cfg.variant:
        raise ValueError(
            f"expected ablation/{choice}.yaml to say `variant: {choice}`, the name in the tables"
        )


def _attempt(cfg: DictConfig, method: str) -> dict[str, Any]:
    return {
        "task": cfg.task.name,
        "dataset": cfg.dataset.name,
        "direction": cfg.direction,
        "method": method,
        "kind": cfg.model.get("kind", "method"),
        "seed": cfg.seed,
        "config": {} if cfg.score_on == "test" else {"score_on": cfg.score_on},
    }


def validate(overrides: Sequence[str], folder: str | Path | None = None) -> str:
    """Compose, load the dataset through its checks, cut the task and build the model, or all members of an
    ensemble; fit nothing.

    Parameters
    ----------
    overrides : as for a run, not for a sweep.
    folder : of configurations of one's own, as ``--config-dir`` of a run.

    Raises
    ------
    ValueError, FileNotFoundError : what would stop the run; a sweep.
    """
    if sweeps := [o for o in overrides if o.lstrip("+").split("=")[0] == "sweep"]:
        raise ValueError(
            f"validate looks at one run, found {sweeps[0]}: name the task, dataset and model of one of its "
            f"runs, or try all: scmobench run {sweeps[0]} dataset=tiny_cite,tiny_multiome smoke=true"
        )
    sys.path.append(os.getcwd())
    cfg = compose(overrides, folder)
    arithmetic.check(cfg.arithmetic)
    if told := idle_ablation(cfg, overrides, lambda others: compose(others, folder)):
        raise ValueError(told)
    paired = cells(cfg)
    task = build(cfg.task, Task, modules=cfg.modules)
    problem = task.split(paired, cfg.direction)
    runs = [(cfg, "")]
    if cfg.ensemble.members:
        runs = member_configs(cfg, list(overrides), lambda given: compose(given, folder))
    models = []
    for each, _ in runs:
        settings = for_subtask(model_block(each, task.name, problem.data.subtask), problem.data.subtask)
        models.append(type(build(settings, MODEL, modules=each.modules)).__name__)
    return (
        f"ok: {task.name} {problem.data.subtask} on {paired.name} "
        f"({paired.obs['is_train'].sum()} training, {(~paired.obs['is_train']).sum()} test cells) "
        f"with {', '.join(models)}"
    )


def validate_all() -> None:
    """Compose and build every dataset, and every model on every task it names.

    Raises
    ------
    ValueError : lists the configurations that cannot be built.
    """
    wrong = []
    for name in names("dataset"):
        wrong += _attempted(f"dataset={name}", lambda cfg: build(cfg.dataset, Source))
    for name in names("model"):
        model = compose([f"model={name}"]).model
        if lacking := not_installed(model):
            print(f"skipped: {lacking}")
            continue
        for task in names("task"):
            if task in model:
                wrong += _attempted(f"model={name} task={task}", _build_model)
    if wrong:
        raise ValueError("these configurations cannot be built: " + "; ".join(wrong))
    print(f"ok: {len(names('dataset'))} datasets, {len(names('model'))} models")


def _build_model(cfg: DictConfig) -> None:
    task = build(cfg.task, Task).name
    directed = ("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX")
    subtasks = ("GEX-ADT", "GEX-ATAC") if task == "joint_embedding" else directed
    for subtask in cfg.model.get("subtasks", subtasks):
        build(for_subtask(model_block(cfg, task), subtask), MODEL)


def _attempted(overrides: str, action: Any) -> list[str]:
    try:
        action(compose(overrides.split()))
    except Exception as error:
        return [f"{overrides}: {error}"]
    return []
