"""Dry runs: build everything that a run would need, and fit nothing."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from scmobench.data.source import Source
from scmobench.experiment import catalogue
from scmobench.experiment.arguments import group, key
from scmobench.experiment.config import build, check, compose, for_subtask, names
from scmobench.experiment.ensemble import members
from scmobench.experiment.plan import Plan, idle, model_block
from scmobench.experiment.run import MODEL
from scmobench.machine import arithmetic
from scmobench.tasks.base import Task
from scmobench.types import SUBTASKS


def checked(plan: Plan) -> list[Plan]:
    """Check a plan before it loads data. Returns its plans: one, or one for each member of an ensemble.

    Raises ValueError for a model that does not serve the task, a wrong setting of the trainer, and libraries
    that compute otherwise than the arithmetic that is asked for.
    """
    arithmetic.check(plan.cfg.arithmetic)
    plans = members(plan) if plan.cfg.ensemble.members else [plan]
    for one in plans:
        block = one.cfg.model.get(one.cfg.task.name)
        if block is not None and not OmegaConf.is_dict(block):
            raise ValueError(
                f"expected {one.cfg.task.name} of model {one.cfg.model.name!r} to be a mapping with "
                f"`_target_`, found {block!r}: write {one.cfg.task.name}: {{_target_: {block}}}"
            )
        model_block(one.cfg, one.cfg.task.name)
    if any(group(override) == "trainer" for override in plan.overrides):  # of a model that trains none, too
        check(OmegaConf.to_container(plan.cfg.trainer, resolve=True))
    return plans


@contextlib.contextmanager
def naming_choice(plan: Plan) -> Iterator[None]:
    """An ablation or ensemble may set what the model does not take. This adds its name to the ValueError."""
    try:
        yield
    except ValueError as error:
        found = re.match("no setting '(.+?)'", str(error))
        chosen = [o for o in plan.overrides if group(o) in ("ablation", "ensemble")]
        if not (found and chosen) or any(key(o).endswith(f".{found[1]}") for o in plan.overrides):
            raise
        its = " and ".join(chosen)
        mend = "correct its YAML" if "did you mean" in str(error) else f"leave {its} out"
        told = f"expected settings that the model takes in {its}, found {error}: {mend}"
        raise ValueError(told) from error


def validate(overrides: Sequence[str], folder: str | Path | None = None) -> str:
    """Compose a run, load its data, cut the task, and build the model or all members of the ensemble.

    ``folder`` is the ``--config-dir`` of the run. Raises what would stop the run, and ValueError for a sweep.
    """
    if sweeps := [override for override in overrides if key(override) == "sweep"]:
        raise ValueError(
            f"validate looks at one run, found {sweeps[0]}: name the task, dataset and model of one of its "
            f"runs, or try all: scmobench run {sweeps[0]} dataset=tiny_cite,tiny_multiome smoke=true"
        )
    sys.path.append(os.getcwd())
    plan = Plan.composed(overrides, folder)
    plans = checked(plan)
    if told := idle(plan):
        raise ValueError(told)
    data, train = plan.problem.data, plan.cells.obs["is_train"]
    with naming_choice(plan):
        models = [build(plan.settings_of(p.cfg), MODEL, modules=p.cfg.modules) for p in plans]
    return (
        f"ok: {plan.task.name} {data.subtask} on {data.dataset} "
        f"({train.sum()} training, {(~train).sum()} test cells) "
        f"with {', '.join(type(model).__name__ for model in models)}"
    )


def validate_all() -> None:
    """Build every dataset, and every model for all its subtasks. Raises ValueError with those that fail."""
    builds = {f"dataset={name}": lambda cfg: build(cfg.dataset, Source) for name in names("dataset")}
    for name, tasks in catalogue.models()["tasks"].items():
        if missing := catalogue.lacks(name):
            print(f"skipped: {missing}")
        else:
            builds |= {f"model={name} task={task}": _build_model for task in tasks}
    wrong = []
    for overrides, builder in builds.items():
        try:
            builder(compose(overrides.split()))
        except Exception as error:
            wrong.append(f"{overrides}: {error}")
    if wrong:
        raise ValueError("these configurations cannot be built: " + "; ".join(wrong))
    print(f"ok: {len(names('dataset'))} datasets, {len(names('model'))} models")


def _build_model(cfg: DictConfig) -> None:
    directed, block = build(cfg.task, Task).directed, model_block(cfg, cfg.task.name)
    for subtask in cfg.model.get("subtasks", [name for name in SUBTASKS if ("2" in name) == directed]):
        for size in (0, sys.maxsize):  # the values for few cells and features, and for many
            build(for_subtask(block, subtask, cells=size, features_on_cpu=size), MODEL)
