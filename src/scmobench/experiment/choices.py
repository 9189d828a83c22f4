"""Checks of the settings of one experiment: their names, their values, and the files that set them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from scmobench.experiment.advice import nearest, ours
from scmobench.experiment.arguments import key
from scmobench.experiment.settings import fits, in_words, shown
from scmobench.machine.arithmetic import ARITHMETIC
from scmobench.machine.files import checked_name
from scmobench.tasks.base import DIRECTIONS
from scmobench.types import TASKS

MODEL = ("name", "kind", "source", "description", "tuning", "smoke", "subtasks", "requires")
SEEDS = 2**32  # what numpy takes
OPTIONS = (
    "task dataset model trainer logger tuned ablation ensemble launcher sweep "
    "seed direction official_files score_on arithmetic variant runs force smoke wandb modules"
)
NEEDED = {
    **dict.fromkeys(("task", "dataset", "model"), dict[str, Any]),
    "seed": int,
    "direction": Literal[tuple(DIRECTIONS)],
    "ensemble": Mapping[str, Any],
    "official_files": Mapping[str, str],
    "score_on": Literal["test", "validation", "predicted_types"],
    "arithmetic": Literal[ARITHMETIC],
    "runs": str,
    "force": bool,
    "smoke": bool,
    "wandb": Mapping[str, Any] | None,
    "modules": str | Sequence[str],
}
# a type, and the value of a group that does not say
INNER = {
    "ensemble.members": (Sequence[Sequence[str]], None),
    "ensemble.weights": (Literal["equal", "validation", "held_out"] | None, None),
    "ensemble.unlike": (bool, False),
    "model.smoke": (Mapping[str, Any] | None, None),
    "model.kind": (Literal["method", "control"], "method"),
    "model.tuning": (Mapping[str, Any] | None, None),
    **{f"model.{task}": (Mapping[str, Any] | str, {}) for task in TASKS},  # text gets advice of its own
}
ADVICE = {
    "seed": f"; seeds go from 0 to {SEEDS - 1}, and several are scmobench run -m seed=0,1,2",
    "direction": "; both: scmobench run -m direction=from_gex,to_gex",
}


def check_choices(cfg: DictConfig) -> None:
    """Refuse a configuration that describes no run, before it leaves a record or a folder.

    Raises ValueError for an unknown option or a value of another kind than its option takes, and
    OmegaConfBaseException for a value that is missing or refers to nothing.
    """
    if unknown := sorted(set(cfg) - set(OPTIONS.split()) - {"hydra"}, key=str):
        meant = nearest(str(unknown[0]), OPTIONS.split()) or ours(str(unknown[0]))
        found = ", ".join(map(str, unknown))
        raise ValueError(f"expected one of the options {OPTIONS}, found {found}{meant}")
    plain = {name: _plain(cfg[name]) for name in dict.fromkeys([*cfg, *NEEDED]) if name != "hydra"}
    for name, kind in NEEDED.items():
        value = plain[name]
        if not fits(value, kind) or (name == "seed" and not 0 <= value < SEEDS):
            advice = ADVICE.get(name, "")
            raise ValueError(f"expected {name} to be {in_words(kind)}, found {shown(value)}{advice}")
    for name, (kind, default) in INNER.items():
        group, _, inner = name.partition(".")
        if not fits(value := plain[group].get(inner, default), kind):
            raise ValueError(f"expected {name} to be {in_words(kind)}, found {shown(value)}")
    members = [override for member in plain["ensemble"].get("members", ()) for override in member]
    if code := [override for override in members if key(override).startswith(("modules", "hydra"))]:
        raise ValueError(f"expected members to set neither `modules` nor Hydra, found {', '.join(code)}")
    for name in ("task.name", "dataset.name", "model.name", "runs", "variant", "ensemble.name"):
        text = OmegaConf.select(cfg, name)
        if text is not None or name not in ("variant", "ensemble.name"):
            checked_name(name, text)
        if name != "runs" and text is not None and re.search(r"[/\\]|^\.", text):
            raise ValueError(f"expected {name} to be a name without / and no dot before it, found {text!r}")


def check_task(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ValueError for a model's setting of another task: a row would be named by it without effect."""
    for override in overrides:
        task = key(override).removeprefix("model.").partition(".")[0]
        if key(override).startswith("model.") and task in TASKS and task != cfg.task.name:
            raise ValueError(
                f"expected settings of {cfg.task.name}, found {override}: leave it out, or add task={task}"
            )


def typed_over_smoke(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Remove from a model's ``smoke`` settings those that the user typed for the task: typed values win."""
    for place in [key(override).split(".") for override in overrides]:
        if place[:2] == ["model", cfg.task.name] and place[2:] and cfg.model.get("smoke"):
            with open_dict(cfg):
                cfg.model.smoke.pop(place[2], None)


def check_name(cfg: DictConfig, overrides: Sequence[str], conf: Path) -> None:
    """Refuse a model's file with another name than the model, or with a key that no model has.

    Raises ValueError: the name in the tables could not be used in a command. Cells with the name of another
    data set in ``conf``, the folder of YAML, are refused too: both would share one heading. A file that is a
    list is refused where settings belong.
    """
    for group, name in cfg.hydra.runtime.choices.items():
        if OmegaConf.is_list(cfg.get(group)) and group in ("task", "dataset", "model", "trainer", "ensemble"):
            raise ValueError(
                f"expected {group}/{name}.yaml to be settings, `key: value` in a line, found a list"
            )
    choice, model = cfg.hydra.runtime.choices.get("model"), cfg.model
    typed = {key(override) for override in overrides}
    if "model.name" not in typed and choice is not None and model.get("name") != choice:
        raise ValueError(
            f"expected {choice}.yaml to say `name: {choice}`, found {model.get('name')!r}: name them alike"
        )
    cells, shipped = cfg.dataset.get("name"), {file.stem for file in conf.glob("dataset/*.yaml")}
    if cells in shipped - {cfg.hydra.runtime.choices.get("dataset")}:
        raise ValueError(
            f"expected a name of its own for these cells, found {cells!r}, the name of a shipped data set: "
            "give another as dataset.name=NAME"
        )
    added = {name.partition(".")[2].partition(".")[0] for name in typed if name.startswith("model.")}
    if unknown := sorted(set(map(str, model)) - {*MODEL, *TASKS} - added):
        keys = [*MODEL, *TASKS]
        meant = nearest(unknown[0], keys) or f"; there are {', '.join(keys)}"
        raise ValueError(f"{choice}.yaml: no key {unknown[0]!r} of a model{meant}")


def check_files(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a file of a sweep, an ablation or an ensemble whose content does not fit its name.

    Raises ValueError for a sweep, an ablation or a launcher without its first line, a sweep of one run, an
    ablation or an ensemble with the name of another, and an ensemble of models that does not say ``unlike``.
    """
    choices, typed = cfg.hydra.runtime.choices, {key(override) for override in overrides}
    for group in ("sweep", "ablation", "launcher"):
        if OmegaConf.is_config(cfg.get(group)):
            raise ValueError(f"expected {group}/{choices[group]}.yaml to begin with `# @package _global_`")
    if cfg.hydra.sweeper.get("params") and cfg.hydra.mode != RunMode.MULTIRUN:
        raise ValueError(f"expected sweep/{choices['sweep']}.yaml to say `mode: MULTIRUN` under `hydra:`")
    ablation, ensemble = choices.get("ablation"), choices.get("ensemble")
    if ablation not in (None, "none") and "variant" not in typed and cfg.variant != ablation:
        raise ValueError(
            f"expected ablation/{ablation}.yaml to say `variant: {ablation}`, the name in the tables"
        )
    if not cfg.ensemble.get("members"):
        return
    if "ensemble.name" not in typed and cfg.ensemble.get("name") != f"ensemble_{ensemble}":
        raise ValueError(
            f"expected ensemble/{ensemble}.yaml to say `name: ensemble_{ensemble}`, the name in the tables"
        )
    named = [key(one) for member in cfg.ensemble.members for one in member]
    if "model" in named and not cfg.ensemble.get("unlike"):
        if "ensemble.members" in typed:
            raise ValueError(
                "expected +ensemble.unlike=true beside ensemble.members that name models: add it"
            )
        raise ValueError(f"expected ensemble/{ensemble}.yaml to say `unlike: true`: its members name models")


def _plain(value: Any) -> Any:
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
