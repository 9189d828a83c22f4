"""The Hydra application behind ``scmobench run``, and its dry run."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from scmobench import records
from scmobench.config import build, compose, conf_dir, for_subtask, names, not_installed
from scmobench.ensemble import run_ensemble
from scmobench.progress import PRIMARY
from scmobench.run import method_name, model_block, run

USER_ERRORS = (ValueError, TypeError, FileNotFoundError)


def launch(arguments: Sequence[str]) -> None:
    """Run one experiment or a sweep; exits with 1 where a run failed."""
    sys.path.append(os.getcwd())  # a method of the user's own, named in `modules`
    sys.argv = ["scmobench run", *arguments]
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
    method = method_name(cfg, list(HydraConfig.get().overrides.task))
    try:
        if cfg.ensemble.members:
            return Scored(run_ensemble(cfg, list(HydraConfig.get().overrides.task), method))
        return Scored(run(cfg, method))
    except Exception as error:
        records.write_failure(cfg.runs, _attempt(cfg, method), error)
        if isinstance(error, USER_ERRORS) and HydraConfig.get().mode == RunMode.RUN:
            raise SystemExit(f"scmobench: {error}") from error
        raise


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


def validate(overrides: Sequence[str]) -> str:
    """Compose, load the dataset through its checks, cut the task and build the model; fit nothing.

    Raises
    ------
    ValueError, FileNotFoundError : what would stop the run.
    """
    cfg = compose(overrides)
    paired = build(cfg.dataset, modules=cfg.modules).load()
    task = build(cfg.task, modules=cfg.modules)
    problem = task.split(paired, cfg.direction)
    settings = for_subtask(model_block(cfg, task.name, problem.data.subtask), problem.data.subtask)
    model = build(settings, modules=cfg.modules)
    return (
        f"ok: {task.name} {problem.data.subtask} on {paired.name} "
        f"({paired.obs['is_train'].sum()} training, {(~paired.obs['is_train']).sum()} test cells) "
        f"with {type(model).__name__}"
    )


def validate_all() -> None:
    """Compose and build every dataset, every model on every task it names, every ablation.

    Raises
    ------
    ValueError : lists the configurations that cannot be built.
    """
    wrong = []
    for name in names("dataset"):
        wrong += _attempted(f"dataset={name}", lambda cfg: build(cfg.dataset))
    for name in names("model"):
        model = compose([f"model={name}"]).model
        if lacking := not_installed(model):
            print(f"skipped: {lacking}")
            continue
        for task in names("task"):
            if task in model:
                wrong += _attempted(f"model={name} task={task}", _build_model)
    if wrong:
        raise ValueError("these configurations cannot be built:\n" + "\n".join(wrong))
    print(f"ok: {len(names('dataset'))} datasets, {len(names('model'))} models")


def _build_model(cfg: DictConfig) -> None:
    task = build(cfg.task).name
    subtasks = (
        ("GEX-ADT", "GEX-ATAC")
        if task == "joint_embedding"
        else ("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX")
    )
    for subtask in cfg.model.get("subtasks", subtasks):
        build(for_subtask(model_block(cfg, task), subtask))


def _attempted(overrides: str, action: Any) -> list[str]:
    try:
        action(compose(overrides.split()))
    except Exception as error:
        return [f"  {overrides}: {error}"]
    return []
