"""One experiment as planned: its configuration, its cells, its task, its model's settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from anndata import AnnData
from omegaconf import DictConfig, OmegaConf

from scmobench.data.source import Source
from scmobench.data.split import training_cells_split
from scmobench.experiment.arguments import group, key
from scmobench.experiment.code import without_places
from scmobench.experiment.config import (
    PER_SUBTASK,
    build,
    compose,
    digest,
    for_subtask,
    from_size,
    not_installed,
)
from scmobench.machine import arithmetic
from scmobench.tasks.base import DIRECTIONS, Task
from scmobench.tasks.predicted_types import predicted_types
from scmobench.types import Paired, Problem

# settings of the trainer that can change a prediction; the others say where and how loudly it runs
TRAINING_CHOICES = ("precision", "max_epochs", "max_seconds", "check_val_every_n_epoch")


@dataclass(eq=False)
class Plan:
    """One experiment as its configuration describes it; its data are loaded once, when they are needed."""

    cfg: DictConfig
    name: str = ""  # of the method, in the tables
    overrides: Sequence[str] = ()  # from which ``cfg`` was composed
    folder: str | Path | None = None  # ``--config-dir``
    paired: Paired | None = None  # cells in memory, instead of those that the configuration names
    begun: bool = False  # whether a fit has begun: what fails before is a mistake in the plan, and no run

    @classmethod
    def composed(cls, overrides: Sequence[str], folder: str | Path | None = None) -> Plan:
        """The plan that these overrides describe."""
        cfg = compose(overrides, folder)
        return cls(cfg, method_name(cfg, overrides, folder), overrides, folder)

    @cached_property
    def task(self) -> Task:
        """The task."""
        return build(self.cfg.task, Task, modules=self.cfg.modules)

    @cached_property
    def cells(self) -> Paired:
        """The cells that the task cuts: the data set, or what ``score_on`` makes of it to choose settings by.

        ``validation``: the training cells, split again (`training_cells_split`). ``predicted_types``: all
        cells, with the test cells' types from a classifier (`predicted_types`). Cells of files lose their
        values once `problem` is made. Raises ValueError if the task or the data set does not serve this
        ``score_on``.
        """
        cfg = self.cfg
        paired = self.paired or build(cfg.dataset, Source, modules=cfg.modules).load()
        if cfg.score_on == "predicted_types":
            if cfg.task.name != "joint_embedding":
                raise ValueError(
                    f"score_on=predicted_types is of joint_embedding, found task={cfg.task.name}"
                )
            return predicted_types(paired)
        return training_cells_split(paired) if cfg.score_on == "validation" else paired

    @cached_property
    def problem(self) -> Problem:
        """The inputs of the model, and the solution.

        They are copies, so the values of `cells` are forgotten, unless somebody else holds them.
        """
        problem = self.task.split(self.cells, self.cfg.direction)
        if self.paired is None:
            mod1, mod2 = (AnnData(obs=m.obs, var=m.var) for m in (self.cells.mod1, self.cells.mod2))
            self.cells = replace(self.cells, mod1=mod1, mod2=mod2)
        return problem

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the model for this subtask and number of training cells."""
        return self.settings_of(self.cfg)

    def settings_of(self, cfg: DictConfig) -> dict[str, Any]:
        """The settings of the model of another configuration, for this problem."""
        data, cells = self.problem.data, int(self.cells.obs["is_train"].sum())
        inputs = self.cells.mod2 if DIRECTIONS[self.cfg.direction] == "to_gex" else self.cells.mod1
        return model_settings(cfg, data.subtask, cells, inputs.n_vars)

    @property
    def attempt(self) -> dict[str, Any]:
        """What is known before the data are loaded. Every record has it, a failed one little more."""
        cfg = self.cfg
        return {
            "task": cfg.task.name,
            "dataset": cfg.dataset.name,
            "direction": DIRECTIONS[cfg.direction],
            "method": self.name,
            "kind": cfg.model.get("kind", "method"),
            "seed": cfg.seed,
            "config": {} if cfg.score_on == "test" else {"score_on": cfg.score_on},
        }

    @property
    def command(self) -> str:
        """The command that makes this run again; empty for cells or a model in memory."""
        if self.paired or not self.overrides:
            return ""
        last = ("seed", "arithmetic")
        apart = ("hydra", "sweep", "launcher", "runs", "force", *last)
        kept = [override for override in self.overrides if group(override) not in apart]
        own = ["--config-dir", str(self.folder)] if self.folder else []
        kept += [f"{name}={self.cfg[name]}" for name in last]
        return shlex.join(["scmobench", "run", *own, *kept])

    def identity(self, config: dict[str, Any], code: str) -> dict[str, Any]:
        """Configuration, data and code. Two runs with the same identity are one run."""
        described = without_places(config | self.attempt["config"])
        return (
            self.attempt
            | {
                "dataset": self.problem.data.dataset,
                "subtask": self.problem.data.subtask,
                "normalization": dict(self.problem.normalization),
                "config": described,
                "config_hash": digest(described),
                "data_hash": self.cells.hash,
                "code": code,
            }
            | arithmetic.identity(self.cfg.arithmetic)
        )


def model_block(cfg: DictConfig, task: str, subtask: str = "") -> dict[str, Any]:
    """The settings of a model for a task, for all subtasks; with ``smoke=true`` its ``smoke`` settings.

    Raises ValueError if the model does not serve the task or subtask, or needs a package that is missing.
    """
    model = OmegaConf.to_container(cfg.model, resolve=True)
    if task not in model:
        serves = [key for key, value in model.items() if isinstance(value, dict) and "_target_" in value]
        raise ValueError(
            f"model {model['name']!r} does not serve {task}; it serves {', '.join(serves)}: "
            f"add task={(serves or ['NAME'])[0]}"
        )
    if subtask and subtask not in model.get("subtasks", [subtask]):
        raise ValueError(f"model {model['name']!r} serves {', '.join(model['subtasks'])}, not {subtask}")
    if missing := not_installed(model):
        raise ValueError(missing)
    return model[task] | (model.get("smoke", {}) if cfg.smoke else {})


def model_settings(cfg: DictConfig, subtask: str, cells: int = 0, features: int = 0) -> dict[str, Any]:
    """`model_block` of the configured task, with the values for one subtask and so many training cells.

    ``features`` : number of input features. It counts only where the model is trained on a CPU.
    """
    block = model_block(cfg, cfg.task.name, subtask)
    if "trainer" in block:
        from scmobench.training.fit import accelerator  # loads PyTorch, as the model does

        trainer = block["trainer"] if isinstance(block["trainer"], dict) else {}
        features = features if accelerator(trainer.get("accelerator", "auto")) == "cpu" else 0
    return for_subtask(block, subtask, cells=cells, features_on_cpu=features)


def method_name(cfg: DictConfig, overrides: Sequence[str], folder: str | Path | None = None) -> str:
    """The name in the tables: model, ``+`` the ablation, ``[...]`` settings changed by hand, or smoke."""
    smoke = ["smoke"] if cfg.smoke else []
    if cfg.ensemble.get("unlike", False):  # its members have names and settings of their own
        return "+".join(filter(None, (cfg.variant, cfg.ensemble.name))) + "[smoke]" * len(smoke)
    name = "+".join(filter(None, (cfg.model.name, cfg.variant, cfg.ensemble.name)))
    trained = "trainer" in cfg.model.get(cfg.task.name, {})
    choices = [f"trainer.{choice}" for choice in TRAINING_CHOICES if trained]
    typed = [o for o in overrides if re.match(r"model\.\w+\.", key(o)) or key(o) in choices]
    if typed:  # a default that was typed changes nothing
        others = [o for o in overrides if o not in typed and group(o) not in ("sweep", "hydra")]
        was, now = (partial(OmegaConf.select, one) for one in (compose(others, folder), cfg))
        typed = [o for o in typed if was(key(o)) != now(key(o))]
    given = [o.lstrip("+~") for o in typed]
    changed = [o.split(".", 2)[2] if group(o) == "model" else o for o in given] + smoke
    return name + (f"[{','.join(sorted(changed))}]" if changed else "")


def idle(plan: Plan) -> str:
    """A message if the ablation, or a value typed for some subtasks or sizes, changes nothing; else empty."""
    cfg, task = plan.cfg, plan.cfg.task.name
    for typed in plan.overrides:
        place, _, part = key(typed).rpartition(".")
        apart = place.startswith(f"model.{task}.") and (part in PER_SUBTASK or from_size(part))
        ablation = bool(cfg.variant) and group(typed) == "ablation"
        if not (apart or ablation):
            continue
        others = [o for o in plan.overrides if o != typed and group(o) not in ("sweep", "hydra")]
        without = compose(others, plan.folder)
        same = model_block(cfg, task) == model_block(without, task)  # of a value: a default that was typed
        if ablation if same else plan.settings == plan.settings_of(without):
            other = (
                f"write {place}={typed.partition('=')[2]}" if apart else "name another task, model or dataset"
            )
            return (
                f"{typed} changes nothing of {task} with {cfg.model.name} on {cfg.dataset.name}: "
                f"leave it out, or {other}"
            )
    return ""
